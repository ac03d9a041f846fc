"""Checks whether signatures are comparable, and describes their differences.

A distance between two networks is meaningful only if everything but the network is the same. The data set and all
options in the metadata are checked, except those that belong to the network or change a score only by rounding. So
a new option of the package is checked without a change here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hf_affscore.record import channels_first
from hf_affscore.signature import Signature

#: Options that do not have to agree, with the reason.
_FREE = frozenset(
    {
        "revision",  # of the model
        # Properties of the network, or of the checkpoint.
        "trust_remote_code",
        "loader",
        "random_weights",
        # These change a score only by rounding.
        "device",
        "device_map",
        "device_memory_limit",
        "attn_implementation",
        "batch_size",
        "shrinkage",  # adds a column
        # The data set's own metadata has the resolved values of these.
        "split",
        "dataset_config",
        "dataset_revision",
        "image_column",
        "num_samples",
    }
)
_DATASET = ("id", "config", "split", "revision", "image_column", "num_samples")


def differences(
    signatures: Sequence[Signature], names: Sequence[str], *, free: Collection[str] = ()
) -> tuple[str, ...]:
    """One sentence for each setting in which ``signatures`` differ; empty if they agree.

    Args:
        signatures: The signatures.
        names: A name for each.
        free: Further settings that do not have to agree, such as ``"options.seed"``.
    """
    made = [
        {key: value for key, value in _making(signature).items() if key not in free}
        for signature in signatures
    ]
    keys = dict.fromkeys(key for one in made for key in one)
    found = []
    for key in keys:
        who: dict[str, list[str]] = {}
        for one, name in zip(made, names, strict=True):
            who.setdefault(repr(one[key]) if key in one else "not recorded", []).append(name)
        if len(who) > 1:
            parts = [f"{value} in {some(owners)}" for value, owners in who.items()]
            found.append(f"{key} is {' but '.join(parts)}")
    return tuple(found)


def mixed_pooling(signatures: Sequence[Signature], names: Sequence[str]) -> str | None:
    """One sentence if pooling made rows of channels in some networks and of tokens or image rows in others.

    Networks whose rows do not say where the channels were are left out.
    """
    kept: dict[bool, list[str]] = {}
    for signature, name in zip(signatures, names, strict=True):
        channels = channels_first(signature.rows)
        if channels is not None and signature.metadata.get("options", {}).get("pooling") == "paper":
            kept.setdefault(channels, []).append(name)
    if len(kept) < 2:
        return None
    return (
        f"Features are channels in {some(kept[True])} but tokens or image rows in {some(kept[False])}: pooling "
        "'paper' keeps the first axis, so part of what differs may be pooling. pooling='channels' makes them alike."
    )


def _making(signature: Signature) -> dict[str, Any]:
    """How a signature was made, as flat names and values."""
    metadata = signature.metadata
    dataset, options = metadata.get("dataset", {}), metadata.get("options", {})
    grouped = options.get("num_samples") == "all"  # means over groups are not scores of all images together
    return {
        "options.num_samples": "all" if grouped else "a number",
        **{f"dataset.{key}": dataset.get(key) for key in _DATASET},
        **{f"options.{key}": value for key, value in options.items() if key not in _FREE},
        "numbers_version": metadata.get("numbers_version"),
    }


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first names, and how many more there are.

    Example:
        >>> some(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
