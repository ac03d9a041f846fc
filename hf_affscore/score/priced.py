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

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from hf_affscore.score.arrays import Array, from_host, namespace, to_host
from hf_affscore.score.distances import Rows, error_bound, exact_distances, rough_distances
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
    first = np.concatenate(
        [(everyone[:, None] * n + nearest).ravel(), (swapped * n + everyone[:, None]).ravel()]
    )
    identity = everyone * (n + 1)
    known = identity, exact_distances(source, target, everyone, everyone)
    known = _joined(known, np.setdiff1d(first, identity), source, target)
    assignment = _best_over(*known, everyone, targets)
    targets = _central_duals(*known, assignment, targets)
    lower_bound, precision = -math.inf, "float32"
    for turn in range(ROUNDS):
        cost = float(exact_distances(source, target, everyone, assignment).mean())
        nearest, prices, error = _nearest(source, target, lengths, targets, precision)
        sources = prices.min(axis=1)
        lower_bound = max(lower_bound, float(sources.mean() + targets.mean()) - error)
        cheap = prices < (_least(*known, targets) - ROUNDING * cost)[:, None]
        new = np.setdiff1d((everyone[:, None] * n + nearest)[cheap], known[0])
        if cost - lower_bound <= ROUNDING * cost:
            lower_bound = cost
            break
        near = (turn + 3) * n * n * d > PRODUCTS and cost - lower_bound <= ENOUGH * cost
        settled = precision == "float64" and not len(new)  # but for rounding in the network simplex
        if near or settled or turn + 1 == ROUNDS:
            break
        precision = "float64" if len(new) <= FEW_NEW * n else "float32"
        if len(new):
            known = _joined(known, new, source, target)
            assignment = _best_over(*known, assignment, targets)
            targets = _central_duals(*known, assignment, targets)
    return PricedCoupling(assignment, cost, lower_bound, sources, targets)


def _start(source: Array, target: Array, lengths: tuple[Array, Array]) -> Rows:
    """Duals of all targets, from a part of the samples: smoothed minima over that part."""
    n = len(source)
    part = np.linspace(0, n - 1, min(n, START)).astype(np.intp)
    some = lengths[0][part], lengths[1][part]
    rough = rough_distances(source[part], target[part], some, "float32")[:]
    width = SMOOTHING * float(namespace(rough).trace(rough)) / len(part)
    known = from_host(approximate_duals(rough), source)
    sources = _soft_minima(rough - known, width)
    weights = some[0] - from_host(sources, source)
    blocks = [slice(start, start + TILE) for start in range(0, n, TILE)]
    return np.concatenate(
        [
            _soft_minima(rough_distances(target[rows], source[part], (lengths[1][rows], weights))[:], width)
            for rows in blocks
        ]
    )


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
            for start in range(0, len(rough), TILE):
                tile = rough[start : start + TILE]
                places = slice(block + start, block + start + len(tile))
                found = tile.argmin(axis=1)
                columns[places, part] = to_host(found) * PARTS + part
                prices[places, part] = to_host(namespace(tile).amin(tile, axis=1))
    return columns, prices, error_bound(d, (lengths[0], lengths[1] + abs(subtracted)), precision)


def _least(pairs: Rows, costs: Rows, targets: Rows) -> Rows:
    """The least price of each row among its candidates."""
    n = len(targets)
    rows, columns = np.divmod(pairs, n)
    prices = costs - targets[columns]
    least: Rows = np.minimum.reduceat(prices, np.searchsorted(rows, np.arange(n)))
    return least


def _joined(known: tuple[Rows, Rows], new: Rows, source: Array, target: Array) -> tuple[Rows, Rows]:
    """Candidates with the new ones, in ascending order, and their squared distances."""
    n = len(source)
    pairs = np.concatenate([known[0], new])
    costs = np.concatenate([known[1], exact_distances(source, target, *np.divmod(new, n))])
    order = pairs.argsort()
    return pairs[order], costs[order]


def _best_over(pairs: Rows, costs: Rows, assignment: Rows, targets: Rows) -> Rows:
    """The best coupling over candidates; the one that is given, where the solver fails.

    Args:
        pairs: Flat indices, ascending.
        costs: Squared distances of the pairs.
        assignment: A coupling.
        targets: Duals that should be near. They save time.
    """
    import ot  # it looks for every library of tensors as it is imported

    n = len(targets)
    rows, columns = np.divmod(pairs, n)
    reduced = costs - targets[columns] - _least(pairs, costs, targets)[rows]
    reduced /= float(reduced.mean()) or 1.0
    ones, matrix = np.ones(n), coo_array((reduced, (rows, columns)), shape=(n, n))
    plan = ot.emd(ones, ones, matrix, numItermax=MOST_PIVOTS).tocsr()
    found: Rows = plan.indices.astype(np.intp)
    failed = not (np.diff(plan.indptr) == 1).all() or len(np.unique(found)) < n
    return assignment if failed else found


def _central_duals(pairs: Rows, costs: Rows, assignment: Rows, targets: Rows) -> Rows:
    """Duals with which no candidate is cheaper than the partner of its row: the mean of two that are near.

    One is had by lowering the given ones until no candidate is, the other by raising them (Bellman and Ford).

    Args:
        pairs: Flat indices, ascending.
        costs: Squared distances of the pairs.
        assignment: The best coupling over them.
        targets: Duals that should be near.
    """
    n = len(targets)
    everyone = np.arange(n)
    rows, columns = np.divmod(pairs, n)
    own = costs[np.searchsorted(pairs, everyone * n + assignment)]
    holder = np.empty_like(everyone)
    holder[assignment] = everyone
    gains, holders, tolerance = costs - own[rows], holder[columns], 1e-13 * own.mean()
    order = holders.argsort(kind="stable")
    of_rows, of_holders = np.searchsorted(rows, everyone), np.searchsorted(holders[order], everyone)
    lowered = raised = targets[assignment]
    for _ in range(SWEEPS):
        before, lowered = lowered, np.minimum.reduceat((lowered[rows] + gains)[order], of_holders)
        if (before - lowered).max() <= tolerance:
            break
    for _ in range(SWEEPS):
        before, raised = raised, np.maximum.reduceat(raised[holders] - gains, of_rows)
        if (raised - before).max() <= tolerance:
            break
    central = np.empty(n)
    central[assignment] = (lowered + raised) / 2
    return central
