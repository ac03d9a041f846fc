"""The exact 2-Wasserstein distance between two samples of equal size with uniform weights.

Some optimal coupling is a permutation (Birkhoff), so the distance is a linear assignment problem on squared
Euclidean distances. In one dimension sorting both samples solves it. Otherwise:

1. The identity coupling, row i with row i, is tried first (:mod:`hf_affscore.score.certificate`): by duality it is
   proved optimal, or not. That settles most layers, nearly all wide ones among them. For wide layers lower
   bounds of the distances, from a quarter of the features, are enough.
2. Else Sinkhorn's iteration in float32 gives approximate duals (:mod:`hf_affscore.score.sinkhorn`). Subtracting
   duals changes the cost of every assignment by the same amount. scipy's solver starts from duals of zero and then
   has few conflicts to resolve: narrow, saturated layers take a tenth to a third of its time. Inexact duals cost
   time, never exactness, so those of a similar pair of samples are a good start.

3. More than :data:`DENSE` samples have too many pairs to keep them all. Where POT is installed the pairs that
   matter are chosen by price (:mod:`hf_affscore.score.priced`), in memory that grows with the number of samples.

Float32 has a narrow range, so rows far from 1 are first brought near it by a power of two, which changes no
digit. The cost is summed in float64 from the coupling itself.

Distances, the proof and Sinkhorn's iteration are computed where the rows are. From an accelerator come to main
memory: a few numbers a row, the pairs that stand against the identity coupling, and for the solver all distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from hf_affscore.extras import couples_chosen_pairs
from hf_affscore.score.arrays import Array, from_host, single, to_host
from hf_affscore.score.certificate import violating_pairs
from hf_affscore.score.distances import (
    Rows,
    error_bound,
    lower_bounds,
    paired_distances,
    rough_distances,
    squared_lengths,
)
from hf_affscore.score.priced import priced_coupling
from hf_affscore.score.sinkhorn import approximate_duals

#: Entries whose largest is between 2 to the power of minus this and of this are squared as they are.
MODERATE = 16

#: From this many features on lower bounds are tried first, from this share of the features.
WIDE, LEADING = 256, 1 / 4

#: Up to so many samples the distances of all pairs are kept, which takes 1 GB; choosing them by price is as fast.
DENSE = 8192

#: Up to so many violating pairs per row, resolving the conflicts in the solver is cheaper than avoiding them.
FEW = 4


@dataclass(frozen=True, eq=False)
class Coupling:
    """A coupling of least squared distance between n rows and n rows; its arrays are in main memory.

    Attributes:
        assignment: For each row of the source the index of its row of the target, shape ``(n,)``.
        shares: What row i of the source and row i of the target together contribute to the cost, shape
            ``(n,)``: the dual potentials ``f_i + g_i``. Exact for one feature and for the identity coupling,
            else within a few percent, as Sinkhorn's duals are.
        cost: The mean squared distance between assigned rows.
        lower_bound: No coupling costs less; the cost itself where the coupling is optimal.
        identity_cost: The same for the pairing that the rows came in.
        duals: What the solver subtracted for each target, shape ``(n,)``; None where it was not needed.
    """

    assignment: Rows
    shares: Rows
    cost: float
    lower_bound: float
    identity_cost: float
    duals: Rows | None = None


def optimal_coupling(source: Array, target: Array, duals: Rows | None = None) -> Coupling:
    """Couple each row of ``source`` with one of ``target`` at the least mean squared distance.

    Args:
        source: Shape ``(n, d)``, float64.
        target: Shape ``(n, d)``.
        duals: Duals of a coupling of nearly the same samples, if known. They save time.

    Example:
        >>> optimal_coupling(np.array([[0.0], [1.0]]), np.array([[3.0], [0.0]])).assignment
        array([1, 0])
    """
    if source.shape[1] == 1:
        return _sorted_coupling(to_host(source)[:, 0], to_host(target)[:, 0])
    unit = _unit(source, target)
    if unit == 1:
        return _coupling(source, target, duals)
    square = unit**2
    found = _coupling(source / unit, target / unit, None if duals is None else duals / square)
    return Coupling(
        assignment=found.assignment,
        shares=found.shares * square,
        cost=found.cost * square,
        lower_bound=found.lower_bound * square,
        identity_cost=found.identity_cost * square,
        duals=None if found.duals is None else found.duals * square,
    )


def _unit(source: Array, target: Array) -> float:
    """The power of two to divide by: that just above every entry, or 1 where entries are moderate."""
    largest = max(max(float(rows.max()), -float(rows.min())) for rows in (source, target))
    exponent = math.frexp(largest)[1]
    return 1.0 if abs(exponent) <= MODERATE else math.ldexp(1.0, exponent)


def _coupling(source: Array, target: Array, duals: Rows | None) -> Coupling:
    """The optimal coupling for two features or more, with entries that float32 can square."""
    n, d = source.shape
    lengths = squared_lengths(source), squared_lengths(target)
    own = paired_distances(source, target)
    mean = float(own.mean())
    identity = Coupling(np.arange(n), own, cost=mean, lower_bound=mean, identity_cost=mean)
    violating, distances = math.inf, None
    if d >= WIDE:
        leading = int(d * LEADING)
        bounds = lower_bounds(source, target, lengths, leading)
        violating, found = violating_pairs(bounds, error_bound(leading + 1, lengths), own, source, target)
        del bounds
    if violating > FEW * n:
        # Where bounds did not do, the solver is likely to be needed, and with it distances in float64.
        precision = "float64" if d >= WIDE and not by_price(n) else "float32"
        rough = rough_distances(source, target, lengths, precision)
        violating, found = violating_pairs(rough, error_bound(d, lengths), own, source, target)
        if violating > FEW * n and not by_price(n):
            distances = rough[:]
            found = approximate_duals(single(distances), duals)
        del rough
    if violating == 0:
        return identity
    if by_price(n):
        priced = priced_coupling(source, target, lengths, duals if violating > FEW * n else found)
        shares = priced.sources + priced.targets
        return Coupling(
            priced.assignment, shares, priced.cost, priced.lower_bound, identity.cost, priced.targets
        )
    subtracted = from_host(found, source)
    if distances is None or distances.dtype != source.dtype:
        distances = rough_distances(source, target, (lengths[0], lengths[1] - subtracted))[:]
    else:
        distances -= subtracted
    distances = to_host(distances)
    assignment = linear_sum_assignment(distances)[1]
    cost = coupling_cost(source, target[assignment])
    # Among nearly equal couplings the solver chooses by rounded distances.
    if cost >= identity.cost:
        return replace(identity, duals=found)
    return Coupling(assignment, distances.min(axis=1) + found, cost, cost, identity.cost, found)


def by_price(num_samples: int) -> bool:
    """Whether so many samples are coupled over pairs chosen by price."""
    return num_samples > DENSE and couples_chosen_pairs()


def _sorted_coupling(source: Rows, target: Rows) -> Coupling:
    """One feature: couple in sorted order. The potentials follow from comparing neighbours in that order."""
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
    cost = min(float(own.mean()), identity_cost)
    return Coupling(assignment, shares, cost, cost, identity_cost)


def coupling_cost(source: Array, target: Array) -> float:
    """The mean squared distance between row i of ``source`` and row i of ``target``."""
    return float(((source - target) ** 2).sum() / len(source))
