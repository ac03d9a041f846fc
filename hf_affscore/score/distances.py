"""Squared Euclidean distances between the rows of two samples: all of them roughly, or chosen ones exactly.

They are computed where the rows are, and stay there; distances of chosen pairs, which are few, come to main memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_affscore.score.arrays import Array, empty, is_torch, namespace, single, to_host

#: What is always in main memory.
Rows = np.ndarray[Any, Any]

#: Entries that a block of a large matrix may have: one that stays in a core's cache is read at its speed. On an
#: accelerator every block is waited for, so that they are larger.
BLOCK, BLOCK_ON_ACCELERATORS = 1 << 18, 1 << 22


def block_entries(rows: Array) -> int:
    """How many entries a block may have where these rows are."""
    return BLOCK_ON_ACCELERATORS if is_torch(rows) else BLOCK


def squared_lengths(rows: Array) -> Array:
    """Shape ``(n,)``."""
    return namespace(rows).einsum("ij,ij->i", rows, rows)


def paired_distances(source: Array, target: Array) -> Rows:
    """Squared distances between row i of the source and row i of the target, shape ``(n,)``; blocks stay small."""
    step = max(1, block_entries(source) // source.shape[1])
    blocks = [slice(i, i + step) for i in range(0, len(source), step)]
    found = [squared_lengths(source[block] - target[block]) for block in blocks]
    return to_host(namespace(source).concatenate(found))


@dataclass(frozen=True, eq=False)
class Distances:
    """Squared distances between all rows of two samples, as a product of two matrices: ``left @ right.T``.

    Rows of them are made when they are asked for, so that n samples take memory in proportion to n and not to n^2.

    Attributes:
        left: Shape ``(n, k)``.
        right: Shape ``(n, k)``.
    """

    left: Array
    right: Array

    def __len__(self) -> int:
        """Rows of the source, n."""
        return len(self.left)

    def __getitem__(self, rows: Any) -> Array:
        """The distances of these rows of the source from all rows of the target."""
        return self.left[rows] @ self.right.T


def rough_distances(
    source: Array, target: Array, lengths: tuple[Array, Array], precision: str = "float64"
) -> Distances:
    """Squared distances between all rows, given their squared lengths, in this precision.

    Expanded into one product of matrices, ``(x, |x|^2, 1) . (-2 y, 1, |y|^2)``: precise enough to choose an
    assignment by, not to give its cost. Passing a target's squared length less its dual gives distances less duals.
    """
    d = source.shape[1]
    left, right = (empty((len(rows), d + 2), precision, source) for rows in (source, target))
    left[:, :d], left[:, d], left[:, d + 1] = source, lengths[0], 1
    right[:, :d], right[:, d], right[:, d + 1] = target, 1, lengths[1]
    right[:, :d] *= -2
    return Distances(left, right)


def lower_bounds(source: Array, target: Array, lengths: tuple[Array, Array], leading: int) -> Distances:
    """Bounds of the squared distances, in float32, in a fraction of the time.

    The ``leading`` features that vary most count in full; of the others only the norms count: no
    distance is less than the difference of the norms (triangle inequality).
    """
    xp = namespace(target)
    features = xp.argsort(-xp.einsum("ij,ij->j", target, target), stable=True)[:leading]

    def shortened(rows: Array, length: Array) -> Array:
        first = rows[:, features]
        rest = length - squared_lengths(first)
        return xp.column_stack([single(first), single(xp.sqrt(rest.clip(0)))])

    return rough_distances(shortened(source, lengths[0]), shortened(target, lengths[1]), lengths, "float32")


def error_bound(width: int, lengths: tuple[Array, Array], precision: str = "float32") -> float:
    """A bound of the error of ``width + 2`` products, whose sizes add up to twice the largest."""
    unit = 2.0 ** {"float32": -24, "float64": -53}[precision]
    return float(2 * (width + 16) * unit * (lengths[0].max() + lengths[1].max()))


def exact_distances(source: Array, target: Array, rows: Rows, columns: Rows) -> Rows:
    """Squared distances of chosen pairs in float64, in blocks that stay small."""
    step = max(1, block_entries(source) // source.shape[1])
    blocks = [slice(i, i + step) for i in range(0, len(rows), step)]
    distances = [
        to_host(((source[rows[block]] - target[columns[block]]) ** 2).sum(axis=1)) for block in blocks
    ]
    return np.concatenate([np.empty(0), *distances])
