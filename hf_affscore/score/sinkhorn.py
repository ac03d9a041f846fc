"""Approximate duals of a coupling: the potentials of Sinkhorn's iteration, with over-relaxation.

The smoothing falls in steps. The coarse ones take all pairs, the fine ones only those that can still matter, a few
per cent of all. Over-relaxation (Thibault et al., 2021, arXiv 1711.01851) brings the duals of remote samples near
their values, which the plain iteration does not in so few steps; the solver spends its time on just those.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hf_affscore.score.arrays import Array, from_host, namespace, places, to_host
from hf_affscore.score.distances import Rows

#: Smoothing of the successive iterations, in units of the identity coupling's mean cost, and the number of steps of
#: each: on all pairs, and on near ones. Rougher duals cost more in the solver, finer ones more than they save.
COARSE = ((1.0, 8), (0.3, 8), (0.1, 8))
FINE = ((0.03, 30), (0.01, 30), (0.003, 30))

#: A pair is near if its distance less the dual is within so much of its row's least, in the same units. Where more
#: than this share of all pairs are near, none are looked at alone.
NEAR, MOST = 0.2, 1 / 8

#: Exponent of each step; 1 is the plain iteration, and from 2 on it does not converge.
RELAXATION = 1.7


def approximate_duals(rough: Array, start: Rows | None = None) -> Rows:
    """Duals of the targets, shape ``(n,)``, float64, in main memory.

    Args:
        rough: Squared distances in float32, shape ``(n, n)``.
        start: Duals that should be near; only the finer smoothings are needed then.
    """
    xp, n = namespace(rough), len(rough)
    scale = np.float32(float(xp.trace(rough))) / n  # of numpy, so that dividing by 0 is no error
    duals = from_host(np.zeros(n, dtype=np.float32) if start is None else start.astype(np.float32), rough)
    kernel = xp.empty_like(rough)
    with np.errstate(all="ignore"):
        for smoothing, steps in COARSE if start is None else COARSE[-1:]:
            _reduce(rough, duals, kernel)
            kernel *= float(-1 / (smoothing * scale))
            xp.exp(kernel, out=kernel)
            duals = duals + float(smoothing * scale) * _logarithms(
                kernel, kernel.T, xp.ones_like(duals), steps
            )
        _reduce(rough, duals, kernel)
        near = places(kernel < float(NEAR * scale))
        found: Rows = to_host(duals).astype(np.float64)
        if n <= len(near) <= MOST * n * n:
            reduced = to_host(kernel.ravel()[from_host(near, kernel)])
            found += scale * _finer(near, reduced / scale, n)
    return found


def _reduce(rough: Array, duals: Array, out: Array) -> None:
    """The distances less the duals, less the least of each row."""
    xp = namespace(rough)
    xp.subtract(rough, duals, out=out)
    out -= xp.amin(out, axis=1)[:, None]


def _finer(near: Rows, reduced: Rows, n: int) -> Rows:
    """What the fine smoothings add to the duals, from the pairs at these flat indices, in units of the scale."""
    rows, columns = np.divmod(near, n)
    starts = np.searchsorted(near, np.arange(n + 1) * n)
    duals = np.zeros(n, dtype=np.float32)
    for smoothing, steps in FINE:
        less = reduced - duals[columns]
        less -= np.minimum.reduceat(less, starts[:-1])[rows]
        kernel = csr_array((np.exp(less / np.float32(-smoothing)), columns, starts), shape=(n, n))
        ones = np.ones(n, dtype=np.float32)
        duals = duals + np.float32(smoothing) * _logarithms(kernel, kernel.T.tocsr(), ones, steps)
    return duals


def _logarithms(kernel: Any, transposed: Any, ones: Array, steps: int) -> Array:
    """Logarithms of the factors of columns after some steps; 0 where they are not finite, as without any pair."""
    xp = namespace(ones)
    of_rows = 1 / (kernel @ ones)
    of_columns = 1 / (transposed @ of_rows)
    for _ in range(steps - 1):
        of_rows = of_rows ** (1 - RELAXATION) / (kernel @ of_columns) ** RELAXATION
        of_columns = of_columns ** (1 - RELAXATION) / (transposed @ of_rows) ** RELAXATION
    return xp.nan_to_num(xp.log(of_columns), nan=0.0, posinf=0.0, neginf=0.0)
