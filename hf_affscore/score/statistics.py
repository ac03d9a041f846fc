"""What is recorded beside the score, to show that it measures something else: one function each, one table.

Every function takes rows ``x`` before and ``y`` after an activation, shape ``(n, d)``, float64, finite, n at
least 2, on one device, and returns a float; nan where the statistic is undefined. A new statistic is one
function and one line in :data:`STATISTICS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hf_affscore.score.arrays import Array, namespace, to_host
from hf_affscore.score.gaussian import centre

#: Entries that one block of histograms may have, so that wide layers need no more memory than narrow ones.
BLOCK = 1 << 22


def cka(x: Array, y: Array) -> float:
    """Linear centred kernel alignment (Kornblith et al., 2019): 1 for equal geometry, 0 for unrelated.

    nan where either side is constant.
    """
    x, y = centre(x), centre(y)
    n, d = x.shape
    if d > n:
        kx, ky = x @ x.T, y @ y.T
        shared = float((kx * ky).sum())
    else:
        kx, ky = x.T @ x, y.T @ y
        shared = float(((x.T @ y) ** 2).sum())
    own = math.sqrt(float((kx**2).sum())) * math.sqrt(float((ky**2).sum()))
    return shared / own if own > 0 else math.nan


def r2(x: Array, y: Array) -> float:
    """R^2 of the linear regression of ``y`` on ``x``, the plain mean over the features of ``y``.

    Equal to scikit-learn's ``LinearRegression().fit(x, y).score(x, y)``, where a constant feature of ``y``
    counts 1.
    """
    x, y = centre(x), centre(y)
    left, singular, _ = namespace(x).linalg.svd(x, full_matrices=False)
    seen = left[:, singular > singular[0] * max(x.shape) * 2.0**-52]
    total = (y**2).sum(axis=0)
    residual = ((y - seen @ (seen.T @ y)) ** 2).sum(axis=0)
    varies = total > 0
    return 1 - float((residual[varies] / total[varies]).sum()) / len(varies)


def entropy(rows: Array) -> float:
    """Mean over the rows of the entropy of their histogram, plus log d: paper, section 4.

    Each row has d bins of equal width between its minimum and its maximum, as ``numpy.histogram(row, d)``
    makes them; the value is the mean of ``-(sum p log p + log(1 / d))`` in nats.
    """
    rows = to_host(rows)
    n, d = rows.shape
    counts = np.arange(d + 1)
    terms = counts / d * np.log(np.maximum(counts, 1) / d)
    step = max(1, BLOCK // d)
    total = sum(float(terms[histograms(rows[i : i + step])].sum()) for i in range(0, n, step))
    return math.log(d) - total / len(rows)


def histograms(rows: np.ndarray) -> np.ndarray:
    """``numpy.histogram(row, d)`` of every row of ``(n, d)`` at once: counts of shape ``(n, d)``.

    Bit for bit numpy's bins: the quotient chooses a bin, and the edges, which round differently, have the
    last word.
    """
    n, d = rows.shape
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    flat = 0.5 * (low == high)
    low, high = low - flat, high + flat
    width = (high - low) / d
    bins = ((rows - low) / (high - low) * d).astype(np.intp)
    np.minimum(bins, d - 1, out=bins)
    bins -= rows < bins * width + low
    bins += (rows >= (bins + 1) * width + low) & (bins != d - 1)
    bins += np.arange(0, n * d, d)[:, None]
    return np.bincount(bins.ravel(), minlength=n * d).reshape(n, d)


def norm(x: Array, y: Array) -> float:
    """The Frobenius norm of ``x - y``."""
    return math.sqrt(float(((x - y) ** 2).sum()))


#: Name of the column -> function of the rows before and after.
STATISTICS: dict[str, Callable[[Array, Array], float]] = {
    "cka": cka,
    "r2": r2,
    "entropy_pre": lambda x, y: entropy(x),
    "entropy_post": lambda x, y: entropy(y),
    "norm": norm,
}
