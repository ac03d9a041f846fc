"""Summary figures of one network's scores, with standard errors.

Only scores that are evidence (:mod:`hf_affscore.evidence`) are included; the others are counted by kind.

The layers of a network see the same images, so the errors of their scores are correlated and do not average out.
Each row has the effects of the same groups of images (:data:`EFFECTS`), which give the covariance of the errors.
The standard error of the mean follows from it; that of the median is the standard deviation of the medians of
scores drawn with these errors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_affscore.evidence import WORDS, evidence_of

#: The column with what each group of images adds to a score, as whole numbers in thousandths of their standard
#: deviation. Group i has the same images in every row, and in every signature on the same images.
EFFECTS = "affinity_score_effects"

#: Groups of images, in networks of any width. A standard error is itself known as well as one of so many
#: independent values: on real layers it varies by 9 % from draw to draw (``benchmarks/uncertainty.md``).
GROUPS = 64

#: Draws of the scores for the standard error of the median, which gives it to 2 %.
DRAWS = 1000

Array = npt.NDArray[np.float64]


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """The figures of :meth:`hf_affscore.Signature.summary`."""
    words = [evidence_of(row) for row in rows]
    evidence = [row for row, word in zip(rows, words, strict=True) if word == "ok"]
    scores = column(evidence, "affinity_score")
    values = {
        name: float(getattr(np, name)(scores)) if scores.size else math.nan
        for name in ("min", "max", "mean", "median", "std")
    }
    errors = joint_errors(evidence)
    counts = Counter(words)
    return {
        **values,
        "mean_stderr": mean_error(errors) if scores.size else math.nan,
        "median_stderr": _median_error(scores, errors) if scores.size else math.nan,
        "count": len(evidence),
        **{word: counts[word] for word in WORDS[1:]},
    }


def standardised(effects: Sequence[float]) -> tuple[int, ...]:
    """Effects as they are stored: in thousandths of their standard deviation (divisor k - 1); all 0 if equal.

    Example:
        >>> standardised([1.0, 2.0, 3.0])
        (-1000, 0, 1000)
    """
    values = np.asarray(effects, dtype=np.float64)
    if values.size < 2 or np.ptp(values) == 0:
        return (0,) * values.size
    return tuple(np.rint(1000 * (values - values.mean()) / values.std(ddof=1)).astype(int).tolist())


def degrees_of_freedom(num_samples: Array | int) -> Array:
    """Those of the standard error of a score of so many images.

    Example:
        >>> degrees_of_freedom(np.array([10, 2048])).tolist()
        [9.0, 63.0]
    """
    return np.clip(np.asarray(num_samples, dtype=np.float64), 2, GROUPS) - 1


def joint_errors(rows: Sequence[Mapping[str, Any]]) -> Array:
    """The errors of scores as a factor of their covariance: ``L @ L.T`` is the covariance of the rows' errors.

    Returns:
        Shape ``(rows, groups)``; nan in rows without a standard error. If a row has no effects, or another number
        of them, the factor has one column, the standard errors: the worst case, in which all scores err together.
    """
    errors = column(rows, "affinity_score_stderr")
    effects = [row.get(EFFECTS) or () for row in rows]
    if len({len(each) for each in effects}) != 1 or len(effects[0]) < 2:
        return errors[:, None]
    centred = np.array(effects, dtype=np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    return centred * (errors / np.where(lengths > 0, lengths, 1))[:, None]


def mean_error(errors: Array) -> float:
    """Standard error of the mean of scores, from the factor that :func:`joint_errors` gives."""
    return float(np.linalg.norm(errors.mean(axis=0)))


def column(rows: Sequence[Mapping[str, Any]], name: str) -> Array:
    """One number per row, nan where it has none."""
    values = (row.get(name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def drawn_medians(scores: Array, errors: Array) -> Array:
    """Medians of scores drawn with these errors; each draw has the same groups of images in every network."""
    drawn = np.random.default_rng(0).standard_normal((DRAWS, errors.shape[1]))
    # Not as a product of matrices, whose rounding depends on the number of threads.
    return np.asarray(np.median(scores + np.einsum("ij,kj->ik", drawn, errors), axis=1))


def _median_error(scores: Array, errors: Array) -> float:
    """Standard error of the median of scores with these errors."""
    return math.nan if np.isnan(errors).any() else float(drawn_medians(scores, errors).std())
