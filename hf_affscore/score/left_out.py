"""The map without one sample: to first order, which is cheap, and exactly, which is not.

In the coordinates of the map, ``basis u = T(x)`` and ``basis v = y``, both sides have the identity as covariance
and the map is ``diag(1 / s)``. Without one sample the covariances are ``I - w u u^T`` and ``I - w v v^T``, and the
map is the N with ``N S (I - w u u^T) S N = I - w v v^T``, where ``S = diag(s)``. What changes for the samples is
``M = N S - I``: sample j is mapped to ``basis (u_j + M u_j)``.

**To first order** ``M_ij = w (u u^T - v v^T)_ij s_j / (s_i + s_j)``. That is right where one sample means little to
the map. How much it means, ``w |u|^2``, is about features over samples, and the error grows with the square.

**Exactly** ``N = (I - w v v^T) K^(-1/2)`` with ``K = S (I - w u u^T) S (I - w v v^T)``, which differs from ``S^2``
by a product of two columns and two rows. The root is an integral over resolvents,
``K^(-1/2) = 2/pi int (t^2 + K)^-1 dt``, and each of these differs from the diagonal one by a product of two columns
and two rows again (Woodbury). The trapezoidal rule in ``log t`` converges exponentially: a dozen nodes give M to
about a percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hf_affscore.score.arrays import Array, from_host, namespace, single, to_host
from hf_affscore.score.distances import Rows

#: Nodes of the integral are so far apart in ``log t``, which is an error of ``2 exp(-pi^2 / STEP)``, 1.4 %; they
#: reach beyond the spectrum by so much on either side, and ignore what is smaller by :data:`SMALLEST`.
STEP, BELOW, ABOVE, SMALLEST = 2.0, 3.0, 2.0, 1e-10


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples in the coordinates of a map. Lengths in the space of y are in any one unit.

    Attributes:
        before: u, shape ``(k, m)``, float64.
        after: v.
        residual: r, ``T(x)`` less the row that it is coupled with, shape ``(k, d)``, float32.
        spectrum: s, shape ``(m,)``.
        basis: Shape ``(d, m)``, float32.
        slope: ``sum_j (basis.T r_j) u_j^T`` over *all* samples, float32.
        count: How many samples there are in all.
    """

    before: Array
    after: Array
    residual: Array
    spectrum: Array
    basis: Array
    slope: Array
    count: int

    def to_first_order(self) -> tuple[Rows, Rows]:
        """What leaving out each sample does, by the derivative of the map.

        Returns:
            By how much ``|r|^2`` grows for all other samples together, and for the sample itself, which is then
            mapped by a map that has not seen it. Both have shape ``(k,)``.
        """
        weights = single(self.spectrum / (self.spectrum[:, None] + self.spectrum))
        slope = self.slope * (weights / self.count)
        slope = slope + slope.T
        u, v = single(self.before), single(self.after)
        moved = (u * ((u * u) @ weights.T) - v * ((u * v) @ weights.T)) @ self.basis.T / self.count
        sums = ((side * moved).sum(axis=1) for side in (self.residual, moved))
        along, squared = (to_host(one).astype(np.float64) for one in sums)
        # The fit of the others is better by half of what the sample itself loses, as in least squares.
        return _forms(u, slope) - _forms(v, slope) - along, 2 * along + squared

    def exactly(self, places: range) -> tuple[Rows, Rows]:
        """The same for some of them, without approximation but that of the integral; ten times the cost for each.

        What the map without one sample does to the others is seen on these samples.
        """
        xp, u = namespace(self.before), single(self.before)
        changes = zip(*(self._change_of_map(place) for place in places), strict=True)
        # Products of all samples at once: those of one have too few rows to be quick.
        lefts, rights = (xp.stack(side) for side in changes)
        flat = lefts.reshape(-1, lefts.shape[-1])
        moves_of = (flat @ self.basis.T).reshape(len(places), -1, len(self.basis))
        slopes = (flat @ self.slope).reshape(lefts.shape)
        found = []
        for place, right, moves, slope in zip(places, rights, moves_of, slopes, strict=True):
            residual, at = self.residual[place], right @ u.T
            moved = at[:, place] @ moves
            lengths = (at * (moves @ moves.T @ at)).sum(axis=0)
            bent = 2 * (slope * right).sum()
            found.append(
                xp.stack([residual @ residual, residual @ moved, lengths.sum(), lengths[place], bent])
            )
        squared, along, lengths, own_length, bent = to_host(xp.stack(found)).astype(np.float64).T
        others = (lengths - own_length) * (self.count - 1) / max(len(u) - 1, 1)
        own = 2 * along + own_length
        # Without the sample the residuals of the others have another mean, around which they are taken.
        return bent - 2 * along + others - (squared + own) / (self.count - 1), own

    def _change_of_map(self, place: int) -> tuple[Array, Array]:
        """M without the sample at ``place`` as ``left.T @ right``, both ``(2 nodes + 1, m)``, float32."""
        u, v, spectrum = self.before[place], self.after[place], self.spectrum / self.spectrum.max()
        xp, weight = namespace(u), self.count / (self.count - 1) ** 2
        lowest = max(float(spectrum.min()), SMALLEST)
        nodes = np.exp(np.arange(math.log(lowest) - BELOW, ABOVE, STEP))
        factor = from_host(2 / math.pi * STEP * nodes, u)[:, None, None]
        resolvents = 1 / (from_host(nodes, u)[:, None] ** 2 + spectrum**2)
        p = spectrum * u
        q = spectrum**2 * v - weight * (p @ v) * p
        columns, rows = xp.stack([p, q]), weight * xp.stack([p, v])
        between = xp.einsum("am,nm,bm->nab", rows, resolvents, columns)
        inner = factor * xp.linalg.inv(from_host(np.eye(2), u) - between)
        left = xp.einsum("am,nab,nm->nbm", columns, inner, resolvents).reshape(-1, len(u))
        right = ((rows * spectrum) * resolvents[:, None]).reshape(-1, len(u))
        left = left - weight * (left @ v)[:, None] * v
        parts = ([left, -weight * v[None]], [right, v[None]])
        left, right = (single(xp.concatenate(part)) for part in parts)
        return left, right


def _forms(rows: Array, matrix: Array) -> Rows:
    """``row @ matrix @ row`` of every row, shape ``(n,)``."""
    return to_host(namespace(rows).einsum("ij,ij->i", rows @ matrix, rows))
