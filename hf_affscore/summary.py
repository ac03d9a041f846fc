"""Summary figures of one network's scores, with standard errors.

Only scores that are evidence (:mod:`hf_affscore.evidence`) are included; the others are counted by kind.

The layers of a network see the same images, so the errors of their scores are correlated and do not average out.
Each row has the correlation of its error with the error of the mean over the network. The standard error of the
mean is exactly the mean of the rows' standard errors, each multiplied by its correlation. For the median, the
errors are modelled as a common part with these correlations and an independent part for each layer; its standard
error is the standard deviation of the medians of scores drawn from this model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_affscore.evidence import WORDS, evidence_of

#: Draws of the scores for the standard error of the median, which gives it to 2 %.
DRAWS = 1000

Array = npt.NDArray[np.float64]


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """The figures of :meth:`hf_affscore.Signature.summary`."""
    words = [evidence_of(row) for row in rows]
    evidence = [row for row, word in zip(rows, words, strict=True) if word == "ok"]
    scores = _column(evidence, "affinity_score")
    values = {
        name: float(getattr(np, name)(scores)) if scores.size else math.nan
        for name in ("min", "max", "mean", "median", "std")
    }
    errors = _column(evidence, "affinity_score_stderr")
    correlations = _column(evidence, "affinity_score_error_correlation")
    correlations = np.where(np.isnan(correlations), 1.0, correlations)  # the worst case
    counts = Counter(words)
    return {
        **values,
        "mean_stderr": abs(float((errors * correlations).mean())) if scores.size else math.nan,
        "median_stderr": _median_error(scores, errors, correlations) if scores.size else math.nan,
        "count": len(evidence),
        **{word: counts[word] for word in WORDS[1:]},
    }


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Array:
    """One number per row, nan where it has none."""
    values = (row.get(name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _median_error(scores: Array, errors: Array, correlations: Array) -> float:
    """Standard error of the median of scores with these errors and correlations."""
    if np.isnan(errors).any():
        return math.nan
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((DRAWS, 1)), rng.standard_normal((DRAWS, len(scores)))
    alone = np.sqrt(np.maximum(1 - correlations**2, 0))
    drawn = scores + errors * (correlations * common + alone * own)
    return float(np.median(drawn, axis=1).std())
