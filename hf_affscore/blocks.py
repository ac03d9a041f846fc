"""What a signature of blocks says as a whole, and what it cannot be asked.

Effective depth counts every block by how little of it an affine map could do: the sum over blocks of
``1 - r2_heldout``, each between 0 and 1. A block that is an affine map on these images counts as 0, one that no
affine map predicts as 1. The idea is the average path length of Ali Mehmeti-Goepel and Disselhoff (ICML 2023, arXiv
2211.17180): the average number of active non-linearities on a path through the network, where a unit is active or
was made linear, and at a residual addition a path takes either branch. Here a block counts by a measured share
instead of yes or no, and the more of its output is the residual stream that passes it, the less it counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hf_affscore.errors import InputError

Rows = Sequence[Mapping[str, Any]]


def are_blocks(rows: Rows) -> bool:
    """Whether rows are of blocks and not of activations.

    Example:
        >>> are_blocks([{"part": "block", "r2_heldout": 0.9}]), are_blocks([{"affinity_score": 0.9}])
        (True, False)
    """
    return bool(rows) and "part" in rows[0]


def refuse_blocks(rows: Rows, what: str) -> None:
    """Refuse a signature of blocks where affinity scores are needed.

    Raises:
        InputError: The rows are of blocks.
    """
    if are_blocks(rows):
        raise InputError(
            f"{what} needs affinity scores, and this is a signature of blocks (level='blocks'), which have none. "
            "Read r2_heldout in its rows, or analyse the same with level='activations'."
        )


def effective_depth(rows: Rows) -> float:
    """The sum over blocks of ``1 - r2_heldout``, from 0 to 1 each; nan if a block has no number.

    Raises:
        InputError: The rows are of activations.

    Example:
        >>> effective_depth([{"part": "block", "r2_heldout": 0.75}, {"part": "block", "r2_heldout": 0.5}])
        0.75
    """
    if not are_blocks(rows):
        raise InputError(
            "effective_depth is of blocks, and this is a signature of activations. Analyse the network with "
            "level='blocks' (--level blocks)."
        )
    shares = [1 - _number(row["r2_heldout"]) for row in rows if row["part"] == "block"]
    return math.fsum(share if math.isnan(share) else min(1.0, max(0.0, share)) for share in shares)


def summary_of_blocks(rows: Rows) -> dict[str, float | int]:
    """The number of blocks, and their effective depth."""
    return {
        "blocks": sum(row["part"] == "block" for row in rows),
        "effective_depth": effective_depth(rows),
    }


def verdict_of_blocks(rows: Rows) -> tuple[str, ...]:
    """How the numbers of blocks can be used, in one or two sentences."""
    few = sum(row["num_samples"] <= 2 * row["dim"] for row in rows)
    lines = [
        "r2: the share of the output that an affine map of the input predicts, on images it was not fitted on; "
        "update r2: the same without the residual stream."
    ]
    if few:
        lines.append(
            f"{few} of {len(rows)} rows have at most two images for each feature: their r2 may be low for lack of "
            "images. Next: more images."
        )
    return tuple(lines)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
