"""The proof that a sample's own pairing is the optimal coupling, or the pairs that stand against it.

By duality the identity coupling is optimal if there are duals ``u`` with ``c_ij + u_i - u_j >= c_ii`` for all i and
j. Float32 distances with a bound of their error rule out nearly all pairs; the others are computed in float64.
Distances are computed and compared where the rows are. What is left, a few pairs and a dual a row, is looked at in
main memory.
"""

from __future__ import annotations

import numpy as np

from hf_affscore.score.arrays import Array, from_host, places
from hf_affscore.score.distances import Distances, Rows, block_entries, exact_distances

#: When to stop looking for duals that prove the identity coupling optimal: pairs per row, rounds, sweeps a round.
PAIRS, ROUNDS, SWEEPS = 16, 12, 100

#: Rows of distances that are made at a time, at least: products of fewer are slow.
SMALLEST = 64


def violating_pairs(
    rough: Distances | Array, error_bound: float, own: Rows, source: Array, target: Array
) -> tuple[int, Rows]:
    """Number of pairs that violate the identity coupling, 0 where it is proved optimal; and duals.

    A pair (i, j) violates it if ``c_ij + u_i - u_j < c_ii``. Pairs that the error bound does not rule out are
    computed in float64. Duals are lowered until none of these pairs violates (Bellman and Ford), then the rows
    whose own dual was lowered are compared again; for all others nothing can have changed. Where this does not
    end, the duals after one step are returned: the solver has fewer conflicts with them than without.

    Args:
        rough: Squared distances, or lower bounds of them, in float32 or better, shape ``(n, n)``.
        error_bound: How far those may be off.
        own: The squared distance of each pair in the identity coupling, float64, in main memory.
        source: Shape ``(n, d)``, float64.
        target: Shape ``(n, d)``.
    """
    n = len(own)
    tolerance = -1e-14 * own.mean()
    duals = better = own / 2
    known, gains = np.empty(0, dtype=np.intp), np.empty(0)
    lowered = np.arange(n)
    for _ in range(ROUNDS):
        limits = from_host((own - duals + error_bound).astype(np.float32), source)
        subtracted = from_host(duals.astype(np.float32), source)
        candidates = _candidate_pairs(rough, subtracted, limits, lowered, PAIRS * n)
        new = np.setdiff1d(candidates, known, assume_unique=True)
        known = np.concatenate([known, new])
        if len(known) > PAIRS * n:
            return len(known), better
        rows, columns = np.divmod(known, n)
        found = exact_distances(source, target, *np.divmod(new, n)) - own[new // n]
        gains = np.concatenate([gains, found])
        if (gains + duals[rows] - duals[columns] >= tolerance).all():
            return 0, duals
        looked_at = duals
        # Two rows that gain by a swap prove that no such duals exist.
        _, pair, swapped = np.intersect1d(known, columns * n + rows, assume_unique=True, return_indices=True)
        swap_gains = bool((gains[pair] + gains[swapped] < 2 * tolerance).any())
        for sweep in range(1 if swap_gains else SWEEPS):
            before = duals
            duals = before.copy()
            np.minimum.at(duals, columns, before[rows] + gains)
            better = duals if sweep == 0 else better
            if (before - duals).max() <= -tolerance:
                break
        else:
            break
        lowered = np.flatnonzero(duals < looked_at)
    return len(known), better


def _candidate_pairs(rough: Distances | Array, duals: Array, limits: Array, among: Rows, most: int) -> Rows:
    """Flat indices of the pairs (i, j), i not j, with ``rough - duals`` below the limit of row i.

    The search ends where there are more than enough: all pairs of many samples would not fit into memory.

    Args:
        rough: Shape ``(n, n)``.
        duals: Shape ``(n,)``.
        limits: Shape ``(n,)``.
        among: The rows to look at, ascending.
        most: How many pairs are enough.
    """
    n = len(rough)
    step = max(SMALLEST, block_entries(duals) // n)
    found, count = [np.empty(0, dtype=np.intp)], 0
    for start in range(0, len(among), step):
        rows = among[start : start + step]
        block = rough[start : start + step] if len(among) == n else rough[rows]
        below = places(block - duals < limits[rows][:, None])
        pairs = rows[below // n] * n + below % n
        found.append(pairs[pairs % (n + 1) != 0])
        count += len(found[-1])
        if count > most:
            break
    return np.concatenate(found)
