"""Squared Euclidean distances between the rows of two samples: all of them roughly, or chosen ones exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Rows = np.ndarray[Any, Any]

#: Entries that a block of a large matrix may have: one that stays in a core's cache is read at its speed.
BLOCK = 1 << 18


def squared_lengths(rows: Rows) -> Rows:
    """Shape ``(n,)``."""
    lengths: Rows = np.einsum("ij,ij->i", rows, rows)
    return lengths


@dataclass(frozen=True, eq=False)
class Distances:
    """Squared distances between all rows of two samples, as a product of two matrices: ``left @ right.T``.

    Rows of them are made when they are asked for, so that n samples take memory in proportion to n and not to n^2.

    Attributes:
        left: Shape ``(n, k)``.
        right: Shape ``(n, k)``.
    """

    left: Rows
    right: Rows

    def __len__(self) -> int:
        """Rows of the source, n."""
        return len(self.left)

    def __getitem__(self, rows: Any) -> Rows:
        """The distances of these rows of the source from all rows of the target."""
        distances: Rows = self.left[rows] @ self.right.T
        return distances


def rough_distances(
    source: Rows, target: Rows, lengths: tuple[Rows, Rows], dtype: type = np.float64
) -> Distances:
    """Squared distances between all rows, given their squared lengths.

    Expanded into one product of matrices, ``(x, |x|^2, 1) . (-2 y, 1, |y|^2)``: precise enough to choose an
    assignment by, not to give its cost. Passing a target's squared length less its dual gives distances less duals.
    """
    n, d = source.shape
    left, right = np.empty((2, n, d + 2), dtype=dtype)
    left[:, :d], left[:, d], left[:, d + 1] = source, lengths[0], 1
    np.multiply(target, -2, out=right[:, :d], casting="same_kind")
    right[:, d], right[:, d + 1] = 1, lengths[1]
    return Distances(left, right)


def lower_bounds(source: Rows, target: Rows, lengths: tuple[Rows, Rows], leading: int) -> Distances:
    """Bounds of the squared distances, in float32, in a fraction of the time.

    The ``leading`` features that vary most count in full; of the others only the norms count: no
    distance is less than the difference of the norms (triangle inequality).
    """
    features = np.argsort(-np.einsum("ij,ij->j", target, target), kind="stable")[:leading]

    def shortened(rows: Rows, length: Rows) -> Rows:
        first = rows[:, features]
        rest = length - squared_lengths(first)
        return np.column_stack([first, np.sqrt(np.maximum(rest, 0))])

    return rough_distances(shortened(source, lengths[0]), shortened(target, lengths[1]), lengths, np.float32)


def error_bound(width: int, lengths: tuple[Rows, Rows]) -> float:
    """A bound of the error of ``width + 2`` products in float32, whose sizes add up to twice the largest."""
    return float(2 * (width + 16) * 2.0**-24 * (lengths[0].max() + lengths[1].max()))


def exact_distances(source: Rows, target: Rows, rows: Rows, columns: Rows) -> Rows:
    """Squared distances of chosen pairs in float64, in blocks that stay small."""
    step = max(1, BLOCK // source.shape[1])
    blocks = [slice(i, i + step) for i in range(0, len(rows), step)]
    distances = [((source[rows[block]] - target[columns[block]]) ** 2).sum(axis=1) for block in blocks]
    return np.concatenate([np.empty(0), *distances])
