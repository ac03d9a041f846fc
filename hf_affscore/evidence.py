"""Rules that decide whether a score is evidence about a network; the result is one word.

A score can be exact and still be uninformative: for a constant output, for variances that are mostly the ridge, or
for fewer images than features, where the affine map fits every image and every score is high. Such scores stay in
their rows, but are left out of the summary of a signature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

Evidence = Literal["ok", "few_samples", "constant_output", "ridge_dominates", "undefined"]

#: All words; the one for evidence is first.
WORDS: tuple[Evidence, ...] = get_args(Evidence)

#: The text that is shown for each word other than ``ok``.
MEANING: dict[Evidence, str] = {
    "few_samples": "has no more images than features",
    "constant_output": "is of a constant output",
    "ridge_dominates": "is of values so small that the ridge decides",
    "undefined": "is undefined",
}

#: The ridge dominates a score from this share of the total variance on, before or after the activation. At this
#: share scores of the digits network move by 0.02 in the median (``benchmarks/uncertainty.md``).
RIDGE_SHARE = 0.1


def few_samples(num_samples: int, width: int) -> bool:
    """Whether ``num_samples`` rows are too few for a score of ``width`` features to be evidence.

    Covariances of full rank need at least one row more than features.

    Example:
        >>> few_samples(512, 1280), few_samples(2048, 1280)
        (True, False)
    """
    return num_samples <= width


def too_few(num_samples: int, width: int) -> str | None:
    """The reason why a score of so many rows is no evidence; None if they are enough.

    Example:
        >>> too_few(5, 8)
        '5 samples for 8 features; more than 8 are needed'
    """
    if not few_samples(num_samples, width):
        return None
    return f"{num_samples} samples for {width} features; more than {width} are needed"


def too_few_given(num_samples: int, width: int) -> str | None:
    """The same for arrays that somebody passed, perhaps with their axes exchanged."""
    reason = too_few(num_samples, width)
    return reason and f"{reason} (rows are samples: transpose rows of features)"


def evidence_of(row: Mapping[str, Any]) -> Evidence:
    """The word of a row. Rows of numbers version 1 have none; it is derived by the same rules.

    Example:
        >>> evidence_of({"affinity_score": 1.0, "reason": "constant output"})
        'constant_output'
    """
    word = row.get("evidence")
    if word in WORDS:
        return word  # type: ignore[no-any-return]
    score, width, count = row["affinity_score"], row.get("dim"), row.get("num_samples")
    if score is None or math.isnan(score):
        return "undefined"
    if row.get("reason") == "constant output":
        return "constant_output"
    if isinstance(width, int) and isinstance(count, int) and few_samples(count, width):
        return "few_samples"
    return "ok"
