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
about a percent. Where the map is nearly right for every sample M must be better than that: what it changes cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hf_affscore.score.arrays import Array, from_host, namespace, single, to_host
from hf_affscore.score.distances import Rows

#: What is smaller than this share of the spectrum is ignored.
SMALLEST = 1e-10

#: Columns of changes that are made at a time, of one sample at least: memory grows with them.
COLUMNS = 512


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples in the coordinates of a map. Lengths in the space of y are in any one unit.

    Those in float32 are in float64 where the residuals are so small that float32 would lose them.

    Attributes:
        before: u, shape ``(k, m)``, float64.
        after: v.
        residual: r, ``T(x)`` less the row that it is coupled with, shape ``(k, d)``, float32.
        spectrum: s, shape ``(m,)``.
        basis: Shape ``(d, m)``, float32.
        slope: ``sum_j (basis.T r_j) u_j^T`` over *all* samples, float32.
        count: How many samples there are in all.
        error: How much the change of a map may be off, in relation to it, where samples are really left out.
    """

    before: Array
    after: Array
    residual: Array
    spectrum: Array
    basis: Array
    slope: Array
    count: int
    error: float

    def to_first_order(self) -> tuple[Rows, Rows]:
        """What leaving out each sample does, by the derivative of the map.

        Returns:
            By how much ``|r|^2`` grows for all other samples together, and for the sample itself, which is then
            mapped by a map that has not seen it. Both have shape ``(k,)``.
        """
        weights = self._rounded(self.spectrum / (self.spectrum[:, None] + self.spectrum))
        slope = self.slope * (weights / self.count)
        slope = slope + slope.T
        u, v = self._rounded(self.before), self._rounded(self.after)
        moved = (u * ((u * u) @ weights.T) - v * ((u * v) @ weights.T)) @ self.basis.T / self.count
        sums = ((side * moved).sum(axis=1) for side in (self.residual, moved))
        along, squared = (to_host(one).astype(np.float64) for one in sums)
        # The fit of the others is better by half of what the sample itself loses, as in least squares.
        return _forms(u, slope) - _forms(v, slope) - along, 2 * along + squared

    def exactly(self, places: range) -> tuple[Rows, Rows]:
        """The same for some of them, without approximation but that of the integral; ten times the cost for each.

        What the map without one sample does to the others is seen on these samples.
        """
        nodes = self._nodes()
        together = max(1, COLUMNS // (2 * len(nodes) + 1))
        parts = [places[start : start + together] for start in range(0, len(places), together)]
        others, own = zip(*(self._without_each(part, nodes) for part in parts), strict=True)
        return np.concatenate(others), np.concatenate(own)

    def _nodes(self) -> Rows:
        """Where the integral over t is taken, in units of the largest of the spectrum.

        The trapezoidal rule is off by ``2 exp(-pi^2 / step)``, and what lies beyond its ends by ``exp(-below)`` and
        ``exp(-3 above)``, in relation to the whole.
        """
        lowest = max(float(self.spectrum.min() / self.spectrum.max()), SMALLEST)
        step, below = math.pi**2 / math.log(2 / self.error), -math.log(self.error)
        nodes: Rows = np.exp(np.arange(math.log(lowest) - below, below / 3, step))
        return nodes

    def _without_each(self, places: range, nodes: Rows) -> tuple[Rows, Rows]:
        """What leaving out each of a few samples does."""
        xp, u = namespace(self.before), self._rounded(self.before)
        changes = zip(*(self._change_of_map(place, nodes) for place in places), strict=True)
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

    def _change_of_map(self, place: int, nodes: Rows) -> tuple[Array, Array]:
        """M without the sample at ``place`` as ``left.T @ right``, both ``(2 nodes + 1, m)``."""
        u, v, spectrum = self.before[place], self.after[place], self.spectrum / self.spectrum.max()
        xp, weight = namespace(u), self.count / (self.count - 1) ** 2
        factor = from_host(2 / math.pi * math.log(nodes[1] / nodes[0]) * nodes, u)[:, None, None]
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
        left, right = (self._rounded(xp.concatenate(part)) for part in parts)
        return left, right

    def _rounded(self, rows: Array) -> Array:
        """In the precision of the basis."""
        return rows if self.basis.dtype == self.before.dtype else single(rows)


def _forms(rows: Array, matrix: Array) -> Rows:
    """``row @ matrix @ row`` of every row, shape ``(n,)``."""
    return to_host(namespace(rows).einsum("ij,ij->i", rows @ matrix, rows))
