"""Whether a score is evidence about a network, in one word, and the rules that decide it.

A score can be exact and still say nothing: of a constant output, of variances that are mostly the ridge, or of
fewer images than features, where the fitted map explains the images one by one and every score is high. Such
scores are kept in their rows, and left out of what sums a signature up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

Evidence = Literal["ok", "few_samples", "constant_output", "ridge_dominates", "undefined"]

#: Every word, the one for evidence first.
WORDS: tuple[Evidence, ...] = get_args(Evidence)

#: What a person reads for a word that stands for no evidence.
MEANING: dict[Evidence, str] = {
    "few_samples": "has no more images than features",
    "constant_output": "is of a constant output",
    "ridge_dominates": "is of values so small that the ridge decides",
    "undefined": "is undefined",
}

#: From this share of the total variance on the ridge decides the score, before the activation or after it.
RIDGE_SHARE = 0.1


def few_samples(num_samples: int, width: int) -> bool:
    """Whether a score of ``num_samples`` rows of ``width`` features rests on too few rows to be evidence.

    One row more than features is needed for covariances of full rank.

    Example:
        >>> few_samples(512, 1280), few_samples(2048, 1280)
        (True, False)
    """
    return num_samples <= width


def evidence_of(row: Mapping[str, Any]) -> Evidence:
    """The word of a row; rows of numbers version 1 do not carry it, and get it by the same rules.

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
