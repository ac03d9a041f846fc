"""Statistics of one network's scores: their density, its modes, and correlations with other statistics.

Modes and correlations are of the scores that are evidence, like the figures of a summary.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks
from scipy.stats import norm

from hf_affscore.evidence import evidence_of
from hf_affscore.signature import IDENTITY, Record, Signature
from hf_affscore.summary import column

Array = npt.NDArray[np.float64]

#: Where a density is evaluated: beyond [0, 1] on both sides, so that a mode at 0 or 1 is a peak too.
GRID: Array = np.linspace(-0.2, 1.2, 701)
#: From fewer scores than this no density is drawn, and correlations are marked.
FEW = 8

_NARROWEST = 0.01  # smallest bandwidth, for scores that are all equal
_PROMINENCE = 0.1  # smallest prominence of a mode, as a share of the highest peak


def evidence_rows(signature: Signature) -> list[Record]:
    """The rows whose scores are evidence, in execution order."""
    return [row for row in signature.rows if evidence_of(row) == "ok"]


def evidence(signature: Signature) -> Array:
    """The scores that are evidence, in execution order."""
    return column(evidence_rows(signature), "affinity_score")


def defined(signature: Signature) -> Array:
    """The defined scores in execution order."""
    scores = signature.scores
    return scores[np.isfinite(scores)]


def density(scores: Array, grid: Array = GRID) -> Array:
    """Gaussian kernel density of ``scores`` on a grid, with Scott's bandwidth ``std * n ** -0.2``.

    Example:
        >>> float(np.trapezoid(density(np.array([0.4, 0.5, 0.6])), GRID).round(6))
        1.0
    """
    bandwidth = max(float(np.std(scores, ddof=1)) * len(scores) ** -0.2 if len(scores) > 1 else 0, _NARROWEST)
    return np.asarray(norm.pdf(grid[:, None], scores, bandwidth).mean(axis=1))


def folded_density(scores: Array, grid: Array) -> Array:
    """The density with its tails beyond 0 and 1 folded back, so that none of it lies where no score can be.

    Example:
        >>> inside = np.linspace(0, 1, 501)
        >>> float(np.trapezoid(folded_density(np.array([0.9, 0.95, 1.0]), inside), inside).round(6))
        1.0
    """
    return density(scores, grid) + density(scores, -grid) + density(scores, 2 - grid)


def modes(scores: Array) -> list[float]:
    """The positions of the peaks in the density of ``scores``, in ascending order, to two decimals.

    A peak counts if its prominence is at least a tenth of the highest peak. The paper finds two modes in networks
    with residual connections and one in networks without (section 5).

    Example:
        >>> modes(np.array([0.5, 0.52, 0.54, 0.88, 0.9, 0.92]))
        [0.54, 0.88]
    """
    if not len(scores):
        return []
    curve = density(scores)
    peaks, _ = find_peaks(curve, prominence=_PROMINENCE * curve.max())
    return [round(float(min(max(GRID[peak], 0.0), 1.0)), 2) for peak in peaks]


def companions(signature: Signature) -> list[str]:
    """The columns with companion statistics: numbers that are not variants of the score."""
    return [
        name
        for name in (signature.rows[0] if signature.rows else ())
        if name not in IDENTITY
        and "_score" not in name  # with other covariances, with another coupling, the ends of an interval
        and not name.startswith(("limit_", "ridge_share_"))  # bounds of the score, and share of the ridge
        and not name.endswith("_error")
        and any(isinstance(row[name], float) for row in signature.rows)
    ]


def correlations(signature: Signature) -> dict[str, float]:
    """Pearson correlation of the score with every companion statistic over the network's activations.

    Scores that are no evidence, and activations with an undefined number, are left out. The correlation is nan if
    fewer than three remain or one of the two is constant.
    """
    rows = evidence_rows(signature)
    scores = column(rows, "affinity_score")
    return {name: _pearson(scores, column(rows, name)) for name in companions(signature)}


def correlation_counts(signature: Signature) -> dict[str, int]:
    """The number of activations that each of :func:`correlations` rests on."""
    rows = evidence_rows(signature)
    return {name: int(np.isfinite(column(rows, name)).sum()) for name in companions(signature)}


def _pearson(first: Array, second: Array) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])
