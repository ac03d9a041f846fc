"""What is usual: the scores of well-known networks, which pictures and reports show in grey behind a new signature.

``hf_affscore/assets/reference.json`` holds the scores; ``python -m examples.reference`` makes it. The networks are
of one family, and their images are crops of a few photographs: being outside the band is no fault.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_affscore.errors import InputError
from hf_affscore.record import channels_first
from hf_affscore.signature import NUMBERS_VERSION, Signature

#: The version of the file's layout.
FORMAT = 1

#: Scores are taken together over this share of the depth on either side.
_REACH = 0.15

#: Depths at which the quantiles are taken.
DEPTHS = 21
_QUANTILES = (0.1, 0.5, 0.9)

Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Reference:
    """Quantiles of the scores of some networks over their depth, from 0 at the beginning to 1 at the end."""

    depth: Array
    lowest: Array
    median: Array
    highest: Array
    caption: str


def reference_for(signature: Signature) -> Reference:
    """The reference to be drawn behind a signature.

    Raises:
        InputError: The signature was made with other settings, so that its scores are other quantities.
    """
    if other := unlike(signature):
        raise InputError(
            f"The reference cannot be drawn behind {signature.name}: its {'; its '.join(other)}. "
            "Leave reference out, or analyse the network with these settings."
        )
    found = read_reference()
    return dataclasses.replace(found, caption=f"{found.caption} {fewer(signature)}".rstrip())


def read_reference() -> Reference:
    """The reference; :func:`unlike` says what it cannot be drawn behind."""
    stored = stored_reference()
    depth = np.linspace(0, 1, DEPTHS)
    lowest, median, highest = quantiles(stored["networks"].values(), depth)
    caption = (
        f"Grey: the middle 80 % and the median of {_listed(list(stored['networks']))} on {stored['num_samples']:,} "
        f"{stored['images']}, by depth; features are channels. "
        "Other images and other families of networks have other ranges."
    )
    return Reference(depth, lowest, median, highest, caption)


def unlike(signature: Signature) -> tuple[str, ...]:
    """What makes the scores of a signature other quantities than those of the reference.

    The features of the reference are channels. Pooling ``channels`` has the same ones, and ``paper`` where the
    channels are the first axis after the images.

    Example:
        >>> unlike(Signature((), (), {"options": {"pooling": "positions"}}))
        ("pooling is 'positions' and that of the reference 'paper'",)
    """
    stored, options = stored_reference(), signature.metadata.get("options", {})
    made = {"numbers_version": signature.metadata.get("numbers_version")}
    made |= {name: options.get(name) for name in ("pooling", "regularization")}
    tokens = made["pooling"] == "paper" and channels_first(signature.rows) is False
    if made["pooling"] == "channels":
        del made["pooling"]
    differing = tuple(
        f"{name} is {value!r} and that of the reference {stored[name]!r}"
        for name, value in made.items()
        if value is not None and value != stored[name]
    )
    said = "features are tokens or image rows and those of the reference channels"
    return (*differing, *([said] if tokens else []))


def fewer(signature: Signature) -> str:
    """A sentence if a signature is of another number of images than the reference, otherwise nothing."""
    count = signature.metadata.get("dataset", {}).get("num_samples")
    known = count is not None and count != stored_reference()["num_samples"]
    return f"This signature is of {count:,} images." if known else ""


@cache
def stored_reference() -> dict[str, Any]:
    """The content of the file: settings, and the scores of each network in execution order."""
    file = resources.files("hf_affscore.assets") / "reference.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if document["format"] != FORMAT or document["numbers_version"] != NUMBERS_VERSION:
        raise InputError(
            f"The reference has format {document['format']} and numbers version {document['numbers_version']}; "
            f"expected {FORMAT} and {NUMBERS_VERSION}. Make it anew with `python -m examples.reference`."
        )
    return document


def quantiles(networks: Iterable[Sequence[float | None]], depth: Array) -> Array:
    """The 10 %, 50 % and 90 % quantiles of scores at depths near each of ``depth``: shape ``(3, depths)``.

    Args:
        networks: The scores of each network in execution order; ``None`` for what is no evidence.
        depth: Depths from 0 to 1.

    Example:
        >>> quantiles([[0.5, 0.7, None, 0.9]], np.array([0.0, 1.0])).tolist()
        [[0.5, 0.9], [0.5, 0.9], [0.5, 0.9]]
    """
    points = np.array(
        [
            (at, score)
            for scores in networks
            for at, score in zip(depths(len(scores)), scores, strict=True)
            if score is not None
        ]
    )
    return np.array(
        [
            np.quantile(points[np.abs(points[:, 0] - at) <= _reach(points[:, 0], at), 1], _QUANTILES)
            for at in depth
        ]
    ).T


def depths(count: int) -> Array:
    """The depth of every activation: 0 for the first, 1 for the last, and 0.5 for the only one.

    Example:
        >>> depths(3).tolist()
        [0.0, 0.5, 1.0]
    """
    return np.linspace(0, 1, count) if count > 1 else np.full(count, 0.5)


def _reach(known: Array, at: float) -> float:
    """:data:`_REACH`, or as far as the nearest point."""
    return float(max(_REACH, np.abs(known - at).min()))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
