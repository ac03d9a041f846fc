"""The statistics recorded beside the score: one function each, one table.

Every function takes the :class:`~hf_affscore.score.sample.Layer` of an activation, with finite rows and at
least two of them, and returns a float; nan where the statistic is undefined. Input and output may have different
widths. The paper compares the score with the statistics, to show that it measures something else. A new one is one
function and one line in :data:`STATISTICS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hf_affscore.score.arrays import Array, doubled, inverse_root, is_torch, namespace, to_host
from hf_affscore.score.held_out import r2_heldout_of
from hf_affscore.score.lapack import pivots
from hf_affscore.score.sample import Layer, Sample

#: Entries that one block of histograms may have: wide layers need no more memory than narrow ones, and a block
#: that stays in a core's cache is read at its speed.
BLOCK = 1 << 14

#: Some rounding steps of float64, as a share of the numbers that are rounded.
ROUNDING = 2.0**-48

#: Singular values below this share of the largest do not take part in the regression; as in scikit-learn 1.9.
TOLERANCE = 1e-6

#: From ``WIDE`` features on a low rank is tried first; the variance outside it may be at most ``GAP`` times the
#: smallest eigenvalue that is kept.
WIDE, GAP = 256, 1e-6


def cka(layer: Layer) -> float:
    """Linear centred kernel alignment (Kornblith et al., 2019): 1 for equal geometry, 0 for unrelated.

    nan where either side is constant.
    """
    pre, post = layer.pre, layer.post
    own = pre.frobenius * post.frobenius
    if own == 0:
        return math.nan
    both_wide = pre.wide and post.wide
    shared = (pre.product * post.product).sum() if both_wide else (layer.cross**2).sum()
    return float(shared) / own


def r2(layer: Layer) -> float:
    """R^2 of the linear regression of ``post`` on ``pre``, the plain mean over the features of ``post``.

    Equal to scikit-learn's ``LinearRegression().fit(pre, post).score(pre, post)`` in float64, where a
    constant feature counts 1, and directions of ``pre`` with a singular value below 1e-6 of the largest do
    not count: features that depend on each other but for the rounding of float32 would fit noise to noise.
    """
    post = layer.post
    for way in (_explained_at_low_rank, _explained_at_full_rank, _explained):
        explained = way(layer)
        if explained is not None:
            break
    varies = post.squares > 0
    unexplained = (post.squares - explained)[varies] / post.squares[varies]
    return 1 - float(unexplained.sum()) / len(varies)


def _explained_at_low_rank(layer: Layer) -> Array | None:
    """The explained sum of squares of every feature, if the features have a low rank; else None.

    A layer that widens a narrow one has a low rank. The pivots of a Cholesky factorisation span the space up to
    rounding, and one step of subspace iteration brings it close to that of the leading singular vectors. The
    variance outside, rounding included, must be too small for one more singular value above the tolerance.
    A third of the time of an eigendecomposition.
    """
    pre, product = layer.pre, layer.pre.product
    if is_torch(product) or pre.wide or len(product) < WIDE or pre.frobenius == 0:
        return None
    chosen = pivots(product, TOLERANCE**2 * pre.frobenius / 10)
    if len(chosen) > len(product) / 3:
        return None
    basis = np.linalg.qr(product @ np.linalg.qr(product[:, chosen]).Q).Q
    values, vectors = np.linalg.eigh(basis.T @ product @ basis)
    least = TOLERANCE**2 * values[-1]
    kept = values > least
    left = abs(pre.total - values.sum()) + 2.0**-50 * pre.total
    if not (left <= GAP * values[kept][0] and left + values[~kept].max(initial=0) < least):
        return None
    explained: Array = (((basis @ vectors[:, kept]).T @ layer.cross) ** 2 / values[kept, None]).sum(axis=0)
    return explained


def _explained_at_full_rank(layer: Layer) -> Array | None:
    """The same if all singular values are above the tolerance; else None.

    With M.T M the inverse of the products of ``pre``, ``1 / |M|^2`` is a lower bound of their least eigenvalue,
    and their Frobenius norm an upper bound of the largest. A quarter of the time of an eigendecomposition.
    Constant features explain nothing and are left out.
    """
    if layer.pre.frobenius == 0:
        return None
    if layer.pre.wide:
        return (
            layer.post.squares if _full_rank(_products_of_samples(layer.pre), layer.pre) is not None else None
        )
    product, cross, varies = layer.pre.product, layer.cross, layer.pre.squares > 0
    if not varies.all():
        product, cross = product[varies][:, varies], cross[varies]
    root = _full_rank(product, layer.pre)
    return None if root is None else ((root @ cross) ** 2).sum(axis=0)


def _products_of_samples(sample: Sample) -> Array:
    """Products of all pairs of centred rows, but that rows of equal entries have the mean eigenvalue and not 0.

    With more features than samples, rows of full rank explain all of ``post``, which is centred too.
    """
    n = len(sample.rows)
    return sample.product + sample.total / n**2


def _full_rank(product: Array, sample: Sample) -> Array | None:
    """The M with ``M.T @ M`` the inverse of ``product``, if no singular value is below the tolerance; else None."""
    root = inverse_root(product)
    if root is None or not 1 / float((root**2).sum()) > TOLERANCE**2 * sample.frobenius:
        return None
    return root


def _explained(layer: Layer) -> Array | None:
    """The same for any rank; never None."""
    pre, post = layer.pre, layer.post
    values, vectors = namespace(pre.rows).linalg.eigh(pre.product)
    kept = values > TOLERANCE**2 * values[-1]
    if pre.wide:
        return ((vectors[:, kept].T @ post.centred) ** 2).sum(axis=0)
    return ((vectors[:, kept].T @ layer.cross) ** 2 / values[kept, None]).sum(axis=0)


def entropy(rows: Array) -> float:
    """Mean over the rows of the entropy of their histogram, plus log d: paper, section 4.

    Each row has d bins of equal width between its minimum and its maximum, as ``numpy.histogram(row, d)``
    makes them; the value is the mean of ``-(sum p log p + log(1 / d))`` in nats. Counted in main memory, also for
    rows on an accelerator: it is a fortieth of the time of a wide layer's record on one core.
    """
    n, d = rows.shape
    counts = np.arange(d + 1)
    terms = counts / d * np.log(np.maximum(counts, 1) / d)
    step = max(1, BLOCK // d)
    host = to_host(rows)
    total = sum(float(terms[histograms(doubled(host[i : i + step]))].sum()) for i in range(0, n, step))
    return math.log(d) - total / len(rows)


def histograms(rows: np.ndarray) -> np.ndarray:
    """``numpy.histogram(row, d)`` of every row of ``(n, d)`` at once: counts of shape ``(n, d)``.

    The bins are numpy's, bit for bit: a quotient chooses a bin, and a comparison with the bin's edges corrects it.
    Only entries within rounding of an edge are compared. The minimum and the maximum of a row lie on edges but
    need no comparison as long as rounding is small against a bin.
    """
    n, d = rows.shape
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    flat = 0.5 * (low == high)
    low, high = low - flat, high + flat
    span = np.where(high > low, high - low, 1.0)  # a constant row may swallow the half
    places = rows - low
    places /= span
    places *= d
    bins = places.astype(np.intp)
    reach = ROUNDING * d * float(((abs(low) + abs(high)) / span).max())
    inside = (places > 0) & (places < d)
    places -= np.rint(places)
    near = np.abs(places, out=places) <= reach
    doubtful = np.flatnonzero(near & inside if reach < 0.1 else near)
    np.minimum(bins, d - 1, out=bins)
    row = doubtful // d
    entry, chosen = rows.ravel()[doubtful], bins.ravel()[doubtful]
    start, width = low[row, 0], span[row, 0] / d
    chosen -= entry < chosen * width + start
    chosen += (entry >= (chosen + 1) * width + start) & (chosen != d - 1)
    bins.ravel()[doubtful] = chosen
    bins += np.arange(0, n * d, d)[:, None]
    return np.bincount(bins.ravel(), minlength=n * d).reshape(n, d)


def norm(layer: Layer) -> float:
    """The Frobenius norm of ``pre - post``; nan where they have different widths."""
    if layer.pre.shape != layer.post.shape:
        return math.nan
    return float(((doubled(layer.pre.rows) - layer.post.rows) ** 2).sum() ** 0.5)


#: Name of the column -> function of the layer.
STATISTICS: dict[str, Callable[[Layer], float]] = {
    "cka": cka,
    "r2": r2,
    "r2_heldout": r2_heldout_of,
    "entropy_pre": lambda layer: entropy(layer.pre.rows),
    "entropy_post": lambda layer: entropy(layer.post.rows),
    "norm": norm,
}
