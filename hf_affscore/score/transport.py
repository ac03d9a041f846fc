"""The exact 2-Wasserstein distance between two samples of equal size with uniform weights.

Birkhoff: some optimal coupling is a permutation, so the distance is a linear assignment problem on squared
Euclidean distances. In one dimension the sorted samples belong together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

Rows = np.ndarray[Any, np.dtype[np.float64]]


def squared_wasserstein(source: Rows, target: Rows) -> float:
    """The square of W2 between the rows of ``source`` and those of ``target``.

    Args:
        source: Shape ``(n, d)``, float64, in main memory.
        target: Shape ``(n, d)``.

    Example:
        >>> squared_wasserstein(np.array([[0.0], [1.0]]), np.array([[3.0], [0.0]]))
        2.0
    """
    if source.shape[1] == 1:
        return coupling_cost(np.sort(source, axis=0), np.sort(target, axis=0))
    # The expanded squares lose digits, which the choice of partners can bear and the distance cannot.
    reward = source @ target.T
    distances = (source**2).sum(axis=1)[:, None] + (target**2).sum(axis=1) - 2 * reward
    _, partner = linear_sum_assignment(distances)
    return min(coupling_cost(source, target[partner]), coupling_cost(source, target))


def coupling_cost(source: Rows, target: Rows) -> float:
    """The mean squared distance between row i of ``source`` and row i of ``target``."""
    return float(((source - target) ** 2).sum() / len(source))
