"""The exact 2-Wasserstein distance between two samples of equal size with uniform weights.

Birkhoff: some optimal coupling is a permutation, so the distance is a linear assignment problem on squared
Euclidean distances. In one dimension the sorted samples belong together. Otherwise:

1. Distances in float32 show which pairs could do better than the pairing the rows came in; those few are
   looked at in float64. Where duals exist at which nobody gains by changing partners, that pairing is
   optimal (duality), and nothing else is needed. This settles most layers, nearly all wide ones among them,
   and for those lower bounds of the distances, from a quarter of the features, are enough.
2. Else a few steps of Sinkhorn's iteration, still in float32, give rough duals. Subtracting duals changes
   all assignments by the same amount, and scipy's solver, which starts from duals of zero, then meets few
   conflicts: narrow, saturated layers take a third to a fifth of its time. Bad duals cost time, never
   exactness, so those of a similar pair of samples are a good start.

Float32 has a narrow range, so rows far from 1 are first brought near it by a power of two, which changes no
digit. The cost is summed in float64 from the coupling itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

Rows = np.ndarray[Any, Any]

#: When to stop looking for duals that keep all partners: pairs per row, rounds, sweeps in a round.
PAIRS, ROUNDS, SWEEPS = 16, 12, 100

#: Entries whose largest is between 2 to the power of minus this and of this are squared as they are.
MODERATE = 16

#: Entries that a block of a large matrix may have: one that stays in a core's cache is read at its speed.
BLOCK = 1 << 18

#: From this many features on lower bounds are tried first, from this share of the features.
WIDE, LEADING = 256, 1 / 4

#: Up to so many violating pairs per row the solver meets conflicts that are cheaper to resolve than to avoid.
FEW = 4

#: Smoothing of the successive Sinkhorn iterations, in units of the identity coupling's mean cost, and the number
#: of steps of each. Rougher duals cost more in the solver, finer ones more than they save.
SMOOTHING = ((1.0, 4), (0.3, 4), (0.1, 8), (0.03, 16))


@dataclass(frozen=True, eq=False)
class Coupling:
    """A coupling of least squared distance between n rows and n rows.

    Attributes:
        assignment: For each row of the source the index of its row of the target, shape ``(n,)``.
        shares: What row i of the source and row i of the target together contribute to the cost, shape
            ``(n,)``: the dual potentials ``f_i + g_i``. Exact for one feature and for the identity coupling,
            else to the few percent that Sinkhorn's duals are good for.
        cost: The mean squared distance between partners.
        identity_cost: The same for the pairing that the rows came in.
        duals: What the solver subtracted for each target, shape ``(n,)``; None where it was not needed.
    """

    assignment: Rows
    shares: Rows
    cost: float
    identity_cost: float
    duals: Rows | None = None


def optimal_coupling(source: Rows, target: Rows, duals: Rows | None = None) -> Coupling:
    """Couple each row of ``source`` with one of ``target`` at the least mean squared distance.

    Args:
        source: Shape ``(n, d)``, float64, in main memory.
        target: Shape ``(n, d)``.
        duals: Those of a coupling of nearly the same samples, if there is one. They save time.

    Example:
        >>> optimal_coupling(np.array([[0.0], [1.0]]), np.array([[3.0], [0.0]])).assignment
        array([1, 0])
    """
    if source.shape[1] == 1:
        return _sorted_coupling(source[:, 0], target[:, 0])
    unit = _unit(source, target)
    if unit == 1:
        return _coupling(source, target, duals)
    square = unit**2
    found = _coupling(source / unit, target / unit, None if duals is None else duals / square)
    return Coupling(
        assignment=found.assignment,
        shares=found.shares * square,
        cost=found.cost * square,
        identity_cost=found.identity_cost * square,
        duals=None if found.duals is None else found.duals * square,
    )


def _unit(source: Rows, target: Rows) -> float:
    """The power of two to divide by: that just above every entry, or 1 where entries are moderate."""
    largest = max(max(float(rows.max()), -float(rows.min())) for rows in (source, target))
    exponent = math.frexp(largest)[1]
    return 1.0 if abs(exponent) <= MODERATE else math.ldexp(1.0, exponent)


def _coupling(source: Rows, target: Rows, duals: Rows | None) -> Coupling:
    """The same for two features or more, with entries that float32 can square."""
    n, d = source.shape
    lengths = _squared_lengths(source), _squared_lengths(target)
    own = _squared_lengths(source - target)
    identity = Coupling(np.arange(n), own, cost=float(own.mean()), identity_cost=float(own.mean()))
    violating, distances = math.inf, None
    if d >= WIDE:
        leading = int(d * LEADING)
        bounds = _lower_bounds(source, target, lengths, leading)
        violating, found = _violating_pairs(bounds, _error_bound(leading + 1, lengths), own, source, target)
        del bounds
    if violating > FEW * n:
        # Where bounds did not do, the solver is likely to be needed, and with it distances in float64.
        distances = _distances(source, target, lengths, np.float64 if d >= WIDE else np.float32)
        violating, found = _violating_pairs(distances, _error_bound(d, lengths), own, source, target)
        if violating > FEW * n:
            found = _duals(distances.astype(np.float32, copy=False), duals)
    if violating == 0:
        return identity
    if distances is None or distances.dtype != np.float64:
        distances = _distances(source, target, (lengths[0], lengths[1] - found))
    else:
        distances -= found
    assignment = linear_sum_assignment(distances)[1]
    cost = coupling_cost(source, target[assignment])
    # The solver's choice among nearly equal couplings rests on rounded distances.
    if cost >= identity.cost:
        return replace(identity, duals=found)
    return Coupling(assignment, distances.min(axis=1) + found, cost, identity.cost, found)


def _sorted_coupling(source: Rows, target: Rows) -> Coupling:
    """In one dimension sorted rows belong together; potentials follow from neighbours not wanting to swap."""
    rows, columns = source.argsort(kind="stable"), target.argsort(kind="stable")
    assignment = np.empty_like(rows)
    assignment[rows] = columns
    x, y = source[rows], target[columns]
    own = (x - y) ** 2
    steps = (own[1:] - (x[:-1] - y[1:]) ** 2 + (x[1:] - y[:-1]) ** 2 - own[:-1]) / 2
    potential = np.concatenate([[0.0], np.cumsum(steps)])
    shares = np.empty_like(source)
    shares[rows] = potential
    shares[columns] += own - potential
    identity_cost = float(((source - target) ** 2).mean())
    return Coupling(assignment, shares, min(float(own.mean()), identity_cost), identity_cost)


def coupling_cost(source: Rows, target: Rows) -> float:
    """The mean squared distance between row i of ``source`` and row i of ``target``."""
    return float(((source - target) ** 2).sum() / len(source))


def _squared_lengths(rows: Rows) -> Rows:
    """Shape ``(n,)``."""
    lengths: Rows = np.einsum("ij,ij->i", rows, rows)
    return lengths


def _distances(source: Rows, target: Rows, lengths: tuple[Rows, Rows], dtype: type = np.float64) -> Rows:
    """Squared distances between all rows, given their squared lengths.

    Expanded into one product of matrices, ``(x, |x|^2, 1) . (-2 y, 1, |y|^2)``: fit for choosing partners, not
    for their distance. A target's squared length less its dual gives distances less duals.
    """
    n, d = source.shape
    left, right = np.empty((2, n, d + 2), dtype=dtype)
    left[:, :d], left[:, d], left[:, d + 1] = source, lengths[0], 1
    np.multiply(target, -2, out=right[:, :d], casting="same_kind")
    right[:, d], right[:, d + 1] = 1, lengths[1]
    distances: Rows = left @ right.T
    return distances


def _lower_bounds(source: Rows, target: Rows, lengths: tuple[Rows, Rows], leading: int) -> Rows:
    """Bounds of the squared distances, in float32, in a fraction of the time.

    The ``leading`` features that vary most count in full; of the others only their norms do, which no distance
    can be less than the difference of (the triangle inequality).
    """
    features = np.argsort(-np.einsum("ij,ij->j", target, target), kind="stable")[:leading]

    def shortened(rows: Rows, length: Rows) -> Rows:
        first = rows[:, features]
        rest = length - _squared_lengths(first)
        return np.column_stack([first, np.sqrt(np.maximum(rest, 0))])

    return _distances(shortened(source, lengths[0]), shortened(target, lengths[1]), lengths, np.float32)


def _error_bound(width: int, lengths: tuple[Rows, Rows]) -> float:
    """A bound of the error of ``width + 2`` products in float32, whose sizes add up to twice the largest."""
    return float(2 * (width + 16) * 2.0**-24 * (lengths[0].max() + lengths[1].max()))


def _violating_pairs(
    rough: Rows, error_bound: float, own: Rows, source: Rows, target: Rows
) -> tuple[int, Rows]:
    """How many pairs stand in the way of the identity coupling, 0 where it is shown to be optimal; and duals.

    It is optimal if at some duals no row prefers another assignment.

    Row i would change to assignment j if ``c_ij + price_i - price_j < c_ii``. Pairs for which float32 cannot
    rule that out are computed exactly, duals are lowered until these pairs are content (Bellman and Ford),
    and the rows whose own dual fell are looked at again; no others can have more to gain than before. Where
    that has no end, one step of it still makes duals at which the solver meets fewer conflicts than at none.

    Args:
        rough: Squared distances, or lower bounds of them, in float32 or better, shape ``(n, n)``.
        error_bound: How far those may be off.
        own: The squared distance of each pair in the identity coupling, float64.
        source: Shape ``(n, d)``, float64.
        target: Shape ``(n, d)``.
    """
    n = len(own)
    content = -1e-14 * own.mean()
    duals = better = own / 2
    known, gains = np.empty(0, dtype=np.intp), np.empty(0)
    lowered = np.arange(n)
    for _ in range(ROUNDS):
        limits = (own - duals + error_bound).astype(np.float32)
        candidates = _candidate_pairs(rough, duals.astype(np.float32), limits, lowered)
        new = np.setdiff1d(candidates, known, assume_unique=True)
        known = np.concatenate([known, new])
        if len(known) > PAIRS * n:
            return len(known), better
        rows, columns = np.divmod(known, n)
        found = _exact(source, target, *np.divmod(new, n)) - own[new // n]
        gains = np.concatenate([gains, found])
        if (gains + duals[rows] - duals[columns] >= content).all():
            return 0, duals
        looked_at = duals
        # Two rows that gain by a swap settle that there are no such duals.
        _, pair, swapped = np.intersect1d(known, columns * n + rows, assume_unique=True, return_indices=True)
        hopeless = bool((gains[pair] + gains[swapped] < 2 * content).any())
        for sweep in range(1 if hopeless else SWEEPS):
            before = duals
            duals = before.copy()
            np.minimum.at(duals, columns, before[rows] + gains)
            better = duals if sweep == 0 else better
            if (before - duals).max() <= -content:
                break
        else:
            break
        lowered = np.flatnonzero(duals < looked_at)
    return len(known), better


def _candidate_pairs(rough: Rows, duals: Rows, limits: Rows, among: Rows) -> Rows:
    """Flat indices of the pairs with ``rough - duals`` below the row's limit, but for its own assignment.

    Args:
        rough: Shape ``(n, n)``.
        duals: Shape ``(n,)``.
        limits: Shape ``(n,)``.
        among: The rows to look at, ascending.
    """
    n = len(rough)
    step = max(1, BLOCK // n)
    found = [np.empty(0, dtype=np.intp)]
    for start in range(0, len(among), step):
        rows = among[start : start + step]
        block = rough[start : start + step] if len(among) == n else rough[rows]
        places = np.flatnonzero(block - duals < limits[rows, None])
        found.append(rows[places // n] * n + places % n)
    pairs = np.concatenate(found)
    others: Rows = pairs[pairs % (n + 1) != 0]
    return others


def _exact(source: Rows, target: Rows, rows: Rows, columns: Rows) -> Rows:
    """Squared distances of chosen pairs in float64, in blocks that stay small."""
    step = max(1, BLOCK // source.shape[1])
    blocks = [slice(i, i + step) for i in range(0, len(rows), step)]
    distances = [((source[rows[block]] - target[columns[block]]) ** 2).sum(axis=1) for block in blocks]
    return np.concatenate([np.empty(0), *distances])


def _duals(rough: Rows, start: Rows | None) -> Rows:
    """Prices of the targets at which each is wanted about equally: Sinkhorn's potentials, roughly.

    Args:
        rough: Squared distances in float32, shape ``(n, n)``.
        start: Prices that should be near; only the finest smoothing is needed then.
    """
    n = len(rough)
    scale = np.trace(rough) / n
    duals: Rows = np.zeros(n, dtype=np.float32) if start is None else start.astype(np.float32)
    kernel = np.empty_like(rough)
    with np.errstate(all="ignore"):
        for smoothing, steps in SMOOTHING if start is None else SMOOTHING[-1:]:
            width = np.float32(smoothing * scale)
            np.subtract(rough, duals, out=kernel)
            kernel -= kernel.min(axis=1)[:, None]
            kernel *= -1 / width
            np.exp(kernel, out=kernel)
            factor: Rows = np.ones(n, dtype=np.float32)
            for _ in range(steps):
                factor = 1 / ((1 / (kernel @ factor)) @ kernel)
            step = duals + width * np.log(factor)
            if not np.isfinite(step).all():
                break
            duals = step
    return duals.astype(np.float64)
