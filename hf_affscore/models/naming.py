"""The name that a user gives to a network that has none: one that is passed as a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hf_affscore.errors import InputError


def check_name(name: Any, model: Any) -> None:
    """Refuse what is no name, and a name for a checkpoint, which is known by its own.

    Raises:
        InputError: ``name`` is no text, is blank, or ``model`` has a name.

    Example:
        >>> check_name("gelu", "microsoft/resnet-18")
        Traceback (most recent call last):
        ...
        hf_affscore.errors.InputError: name is 'gelu', but a checkpoint is known by its own name, \
microsoft/resnet-18. Leave it out; it is for a torch.nn.Module.
    """
    if name is None:
        return
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"name is {name!r}; expected a text such as 'resnet-gelu', or None.")
    if isinstance(model, str | Path):
        raise InputError(
            f"name is {name!r}, but a checkpoint is known by its own name, {model}. "
            "Leave it out; it is for a torch.nn.Module."
        )
