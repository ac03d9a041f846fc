"""Families of networks: named by patterns, otherwise the architecture of the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from hf_affscore.errors import InputError
from hf_affscore.signature import Signature

#: The family of a network whose architecture is not recorded.
UNKNOWN = "unknown architecture"

#: What follows the architecture in the names of classes in transformers.
_TASK = re.compile(r"(For[A-Z]\w*|Model|WithProjection)+$")


def families_of(
    signatures: Sequence[Signature], names: Sequence[str], patterns: Mapping[str, str]
) -> tuple[str, ...]:
    """The family of every network: that of the first pattern which matches its name, or its architecture.

    Args:
        signatures: The signatures.
        names: A name for each.
        patterns: By family, a pattern such as ``"timm/resnet*"``, with ``*``, ``?`` and ``[...]`` as in a shell;
            capital and small letters are the same.

    Raises:
        InputError: A pattern matches no network.

    Example:
        >>> networks = [Signature((), (), {"model": {"class": "ResNetForImageClassification"}})] * 2
        >>> families_of(networks, ["a/vit", "b/net"], {"transformer": "*/vit*"})
        ('transformer', 'ResNet')
    """
    for family, pattern in patterns.items():
        if not any(_matches(name, pattern) for name in names):
            raise InputError(
                f"The pattern {pattern!r} of family {family!r} matches none of the networks; expected a pattern "
                f"such as '*{names[0].rpartition('/')[2]}*'."
            )
    return tuple(
        next(
            (family for family, pattern in patterns.items() if _matches(name, pattern)),
            _architecture(signature),
        )
        for signature, name in zip(signatures, names, strict=True)
    )


def _architecture(signature: Signature) -> str:
    model = signature.metadata.get("model", {})
    kind = str(model.get("wraps") or model.get("class") or "")
    return _TASK.sub("", kind) or kind or UNKNOWN


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), pattern.lower())
