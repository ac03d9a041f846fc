"""The coupling of very many samples, in memory that grows with their number and not with its square.

Few pairs can be in an optimal coupling. Which, is told by their price, the distance less the duals (column
generation):

1. The duals of a part of the samples are extended to all.
2. The nearest targets of each row, at first also the nearest rows of each target, become candidates.
3. POT's network simplex finds the best coupling over the candidates. Of its duals, which are many, those in the
   middle are taken: with extreme ones, as the simplex ends with, other pairs seem cheap in each round.
4. All pairs are looked at again, in tiles. Those whose price is below that of their row's partner are new
   candidates. Where there are none the coupling is optimal; else it goes on at 3.

Whatever the duals are, the least price of each row, with them, bounds the cost of every coupling from below (weak
duality). So a coupling that is not proved optimal comes with a bound of how far from it it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from hf_affscore.score.arrays import Array, from_host, namespace, to_host
from hf_affscore.score.distances import Rows, error_bound, exact_distances, rough_distances
from hf_affscore.score.once import once
from hf_affscore.score.sinkhorn import approximate_duals

#: Samples whose duals are the start, and the smoothing of their extension to all, in units of the mean cost of the
#: pairs as they came.
START, SMOOTHING = 4096, 0.03

#: Parts of the targets, of each of which the nearest is a candidate; rows whose factors are made at a time; and
#: rows of a tile, which stays in a core's cache.
PARTS, BLOCK, TILE = 16, 4096, 256

#: Until so few pairs per row are new, prices are looked at in float32.
FEW_NEW = 1e-3

#: The search goes on until the coupling is proved optimal, for so many rounds at most. Beyond this number of
#: products of entries it ends as soon as the bounds of the cost are so near to each other, in relation to it.
ROUNDS, PRODUCTS, ENOUGH = 20, 2e12, 2e-4

#: Sweeps over the candidates in search of duals, at most.
SWEEPS = 1000

#: Steps of the network simplex after which it has failed.
MOST_PIVOTS = 10**9

#: What is smaller than this, in relation to the cost, is rounding.
ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class PricedCoupling:
    """The best coupling that was found, and what bounds all others.

    Attributes:
        assignment: For each row of the source the index of its row of the target, shape ``(n,)``.
        cost: Its mean squared distance.
        lower_bound: No coupling costs less. Equal to ``cost`` where that is proved optimal.
        sources: Duals of the rows of the source, shape ``(n,)``.
        targets: Duals of the rows of the target, shape ``(n,)``.
    """

    assignment: Rows
    cost: float
    lower_bound: float
    sources: Rows
    targets: Rows


def priced_coupling(
    source: Array, target: Array, lengths: tuple[Array, Array], duals: Rows | None = None
) -> PricedCoupling:
    """The optimal coupling, or the best within a budget, with a bound of what it misses.

    Args:
        source: Shape ``(n, d)``, float64, n of at least :data:`PARTS`.
        target: Shape ``(n, d)``.
        lengths: Squared lengths of the rows of both.
        duals: Duals of the targets, if they are known of nearly the same samples. They save time.
    """
    n, d = source.shape
    everyone = np.arange(n)
    targets = _start(source, target, lengths) if duals is None else duals
    nearest, prices, _ = _nearest(source, target, lengths, targets, "float32")
    swapped, _, _ = _nearest(target, source, lengths[::-1], prices.min(axis=1), "float32")
    candidates = _Candidates(everyone * (n + 1), exact_distances(source, target, everyone, everyone), n)
    for rows, columns in ((everyone[:, None], nearest), (swapped, everyone[:, None])):
        new = candidates.unknown((rows * n + columns).ravel())
        candidates = candidates.joined(new, source, target)
    assignment, lower_bound, precision = everyone, 0.0, "float32"
    for turn in range(ROUNDS):
        assignment = candidates.best_coupling(assignment, targets)
        targets = candidates.central_duals(assignment, targets)
        cost = float(exact_distances(source, target, everyone, assignment).mean())
        nearest, prices, error = _nearest(source, target, lengths, targets, precision)
        sources = prices.min(axis=1)
        lower_bound = max(lower_bound, float(sources.mean() + targets.mean()) - error)
        if cost - lower_bound <= ROUNDING * cost:
            lower_bound = cost
            break
        cheap = prices < (candidates.least_prices(targets) - ROUNDING * cost)[:, None]
        new = candidates.unknown((everyone[:, None] * n + nearest)[cheap])
        near = (turn + 3) * n * n * d > PRODUCTS and cost - lower_bound <= ENOUGH * cost
        if near or (precision == "float64" and not len(new)):  # what is left then is rounding in the simplex
            break
        precision = "float64" if len(new) <= FEW_NEW * n else "float32"
        candidates = candidates.joined(new, source, target)
    return PricedCoupling(assignment, cost, lower_bound, sources, targets)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Pairs that may be in an optimal coupling, among them those that the rows came in.

    Attributes:
        pairs: Flat indices ``row * n + column``, ascending.
        costs: Their squared distances.
        n: Number of rows, and of columns.
    """

    pairs: Rows
    costs: Rows
    n: int

    @once
    def rows(self) -> Rows:
        """The row of each pair."""
        return self.pairs // self.n

    @once
    def columns(self) -> Rows:
        """The column of each pair."""
        return self.pairs % self.n

    @once
    def starts(self) -> Rows:
        """Where the pairs of each row begin."""
        return np.searchsorted(self.rows, np.arange(self.n))

    def unknown(self, pairs: Rows) -> Rows:
        """Those of some pairs that are no candidates, each once."""
        pairs = np.unique(pairs)
        places = np.searchsorted(self.pairs, pairs).clip(max=len(self.pairs) - 1)
        new: Rows = pairs[self.pairs[places] != pairs]
        return new

    def joined(self, new: Rows, source: Array, target: Array) -> _Candidates:
        """These, and others that are unknown."""
        pairs = np.concatenate([self.pairs, new])
        costs = np.concatenate([self.costs, exact_distances(source, target, *np.divmod(new, self.n))])
        order = pairs.argsort()
        return _Candidates(pairs[order], costs[order], self.n)

    def least_prices(self, targets: Rows) -> Rows:
        """The least price of each row."""
        least: Rows = np.minimum.reduceat(self.costs - targets[self.columns], self.starts)
        return least

    def best_coupling(self, assignment: Rows, targets: Rows) -> Rows:
        """The optimal coupling over the candidates.

        Args:
            assignment: The coupling to keep where the solver fails.
            targets: Duals that should be near. They save time.
        """
        import ot  # it looks for every library of tensors as it is imported

        reduced = self.costs - targets[self.columns] - self.least_prices(targets)[self.rows]
        reduced /= float(reduced.mean()) or 1.0
        matrix = coo_array((reduced, (self.rows, self.columns)), shape=(self.n, self.n))
        plan = ot.emd(np.ones(self.n), np.ones(self.n), matrix, numItermax=MOST_PIVOTS).tocsr()
        found: Rows = plan.indices.astype(np.intp)
        failed = not (np.diff(plan.indptr) == 1).all() or len(np.unique(found)) < self.n
        return assignment if failed else found

    def central_duals(self, assignment: Rows, targets: Rows) -> Rows:
        """Duals of the targets with which no candidate is cheaper than the partner of its row.

        The mean of two such duals near those that are given: one is had by lowering these until no candidate is
        cheaper, the other by raising them (Bellman and Ford).

        Args:
            assignment: The optimal coupling over the candidates.
            targets: Duals that should be near.
        """
        everyone = np.arange(self.n)
        own = self.costs[np.searchsorted(self.pairs, everyone * self.n + assignment)]
        holder = np.empty_like(everyone)
        holder[assignment] = everyone
        gains, holders, tolerance = self.costs - own[self.rows], holder[self.columns], 1e-13 * own.mean()
        order = holders.argsort(kind="stable")
        of_holders = np.searchsorted(holders[order], everyone)
        lowered = raised = targets[assignment]
        for _ in range(SWEEPS):
            before, lowered = lowered, np.minimum.reduceat((lowered[self.rows] + gains)[order], of_holders)
            if (before - lowered).max() <= tolerance:
                break
        for _ in range(SWEEPS):
            before, raised = raised, np.maximum.reduceat(raised[holders] - gains, self.starts)
            if (raised - before).max() <= tolerance:
                break
        central = np.empty(self.n)
        central[assignment] = (lowered + raised) / 2
        return central


def _start(source: Array, target: Array, lengths: tuple[Array, Array]) -> Rows:
    """Duals of all targets, from a part of the samples: smoothed minima over that part."""
    n = len(source)
    part = np.linspace(0, n - 1, min(n, START)).astype(np.intp)
    some = lengths[0][part], lengths[1][part]
    rough = rough_distances(source[part], target[part], some, "float32")[:]
    width = SMOOTHING * float(namespace(rough).trace(rough)) / len(part)
    known = from_host(approximate_duals(rough), source)
    sources = np.concatenate([_soft_minima(rough[rows] - known, width) for rows in _blocks(len(part))])
    weights = some[0] - from_host(sources, source)
    return np.concatenate(
        [
            _soft_minima(rough_distances(target[rows], source[part], (lengths[1][rows], weights))[:], width)
            for rows in _blocks(n)
        ]
    )


def _blocks(count: int) -> list[slice]:
    """Rows that are looked at together."""
    return [slice(start, start + TILE) for start in range(0, count, TILE)]


def _soft_minima(rows: Array, width: float) -> Rows:
    """``-width log mean exp(-row / width)`` of every row; the least entry, where ``width`` is 0."""
    xp = namespace(rows)
    least = xp.amin(rows, axis=1)
    if not width > 0:
        return to_host(least).astype(np.float64)
    means = xp.exp((rows - least[:, None]) / -width).mean(axis=1)
    return to_host(least - width * xp.log(means)).astype(np.float64)


def _nearest(
    source: Array, target: Array, lengths: tuple[Array, Array], duals: Rows, precision: str
) -> tuple[Rows, Rows, float]:
    """For each row the nearest target of every part, by price.

    Returns:
        Indices of the targets, shape ``(n, PARTS)``; their prices, distances less ``duals``; and a bound of the
        prices' rounding error.
    """
    n, d = source.shape
    columns, prices = np.empty((n, PARTS), dtype=np.intp), np.empty((n, PARTS))
    subtracted = from_host(duals, source)
    weights = lengths[1] - subtracted
    for block in range(0, n, BLOCK):
        rows = slice(block, block + BLOCK)
        for part in range(PARTS):
            some = slice(part, None, PARTS)
            rough = rough_distances(source[rows], target[some], (lengths[0][rows], weights[some]), precision)
            for some_rows in _blocks(len(rough)):
                tile = rough[some_rows]
                places = slice(block + some_rows.start, block + some_rows.start + len(tile))
                found = tile.argmin(axis=1)
                columns[places, part] = to_host(found) * PARTS + part
                prices[places, part] = to_host(namespace(tile).amin(tile, axis=1))
    return columns, prices, error_bound(d, (lengths[0], lengths[1] + abs(subtracted)), precision)
