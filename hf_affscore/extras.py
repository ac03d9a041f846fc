"""Packages that only some jobs need, so that a plain installation stays small, and the line that installs each."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from functools import cache
from typing import Literal

from hf_affscore.errors import MissingPackageError

#: The package, the extra of this package that brings it, and what needs it.
EXTRAS: dict[str, tuple[str, str]] = {
    "matplotlib": ("plots", "Drawing pictures"),
    "dtaidistance": ("compare", "Comparing signatures"),
    "timm": ("timm", "A checkpoint of timm"),
    "gradio": ("space", "The page of a Gradio Space"),
}

Package = Literal["matplotlib", "dtaidistance", "timm", "gradio"]


def is_installed(package: Package) -> bool:
    """Whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that was put into sys.modules by hand
        return False


@cache
def couples_chosen_pairs() -> bool:
    """Whether POT is there, of the extra ``many``, and couples over chosen pairs, as from version 0.9.7 on."""
    try:
        version = importlib.metadata.version("pot")
    except importlib.metadata.PackageNotFoundError:
        return False
    return [int(number) for number in re.findall(r"\d+", version)[:3]] >= [0, 9, 7]


def require(package: Package) -> None:
    """Check that an optional package is there, before it is imported.

    Raises:
        MissingPackageError: It is not; the message has the line that installs it.

    Example:
        >>> require("matplotlib")
    """
    if not is_installed(package):
        extra, purpose = EXTRAS[package]
        raise MissingPackageError(
            f"{purpose} needs {package}, which is not installed. Install it: pip install 'hf-affscore[{extra}]'"
        )
