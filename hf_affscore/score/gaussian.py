"""Mean and covariance of rows in one object, and the optimal transport map between two of them.

A covariance is kept as what it is made of, ``weight * rows.T @ rows + ridge * I``: centred rows and two
numbers. So nothing is squared before it must be, which is worth half the digits for ill-conditioned
activations, and the ridge of the paper and the target of Ledoit and Wolf's shrinkage are one and the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from hf_affscore.score.arrays import Array, is_torch, namespace

#: The ridge of ``regularization="relative"``, in units of the mean variance of the features.
RELATIVE_RIDGE = 1e-6

Regularization = float | Literal["relative"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution in d dimensions.

    Attributes:
        mean: Shape ``(d,)``.
        rows: Centred samples, shape ``(n, d)``.
        weight: What one sample counts in the covariance ``weight * rows.T @ rows + ridge * I``.
        ridge: What is added to every variance.

    Example:
        >>> import numpy as np
        >>> narrow = Gaussian(mean=np.zeros(1), rows=np.array([[1.0]]), weight=1.0, ridge=0.0)
        >>> wide = Gaussian(mean=np.ones(1), rows=np.array([[2.0]]), weight=1.0, ridge=0.0)
        >>> narrow.affine_map_to(wide)(np.array([[3.0]]))  # x -> 2 x + 1
        array([[7.]])
    """

    mean: Array
    rows: Array
    weight: float
    ridge: float

    @classmethod
    def fit(cls, rows: Array, *, shrinkage: bool = False, regularization: Regularization = 1e-6) -> Gaussian:
        """The normal distribution with the mean and the covariance of ``rows``.

        Args:
            rows: Shape ``(n, d)``, float64, n >= 2.
            shrinkage: Ledoit and Wolf's covariance (2004; divisor n) instead of the sample's (divisor n - 1).
            regularization: Ridge added to the covariance; ``"relative"`` takes 1e-6 of its mean variance.
        """
        n, d = rows.shape
        centred = centre(rows)
        share, target = ledoit_wolf(centred) if shrinkage else (0.0, 0.0)
        weight = (1 - share) / n if shrinkage else 1 / (n - 1)
        ridge = share * target
        if regularization == "relative":
            ridge += RELATIVE_RIDGE * (weight * float((centred**2).sum()) / d + ridge)
        else:
            ridge += regularization
        return cls(mean=rows.mean(axis=0), rows=centred, weight=weight, ridge=ridge)

    @property
    def covariance(self) -> Array:
        """Shape ``(d, d)``."""
        return self.weight * self.rows.T @ self.rows + self.ridge * _identity(self.rows)

    @cached_property
    def total_variance(self) -> float:
        """The trace of the covariance."""
        return self.weight * float((self.rows**2).sum()) + self.ridge * int(self.rows.shape[1])

    @cached_property
    def root(self) -> Array:
        """Upper triangular R of shape ``(d, d)`` with ``R.T @ R`` the covariance, without forming that."""
        stacked = namespace(self.rows).vstack(
            [self.weight**0.5 * self.rows, self.ridge**0.5 * _identity(self.rows)]
        )
        return triangular_factor(stacked)

    def affine_map_to(self, other: Gaussian) -> AffineMap:
        """The optimal transport map onto ``other`` for squared Euclidean cost (paper, section 2).

        Its matrix is the only positive semi-definite A with ``A @ covariance @ A == other.covariance``. With
        roots R and S of the covariances and the singular values of ``R @ S.T = U diag(s) V.T`` it is
        ``S.T @ V diag(1 / s) V.T @ S``; directions without variance are left out, as a pseudo-inverse does.
        """
        xp = namespace(self.rows)
        _, singular, vt = xp.linalg.svd(self.root @ other.root.T)
        kept = singular > singular[0] * len(singular) * 2.0**-52
        half = (vt[kept] @ other.root) / singular[kept, None] ** 0.5
        return AffineMap(matrix=half.T @ half, source=self.mean, target=other.mean)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """``x -> matrix @ (x - source) + target``, with a symmetric matrix, applied to rows."""

    matrix: Array
    source: Array
    target: Array

    def __call__(self, rows: Array) -> Array:
        """Map rows of shape ``(n, d)``."""
        return (rows - self.source) @ self.matrix + self.target


def ledoit_wolf(centred: Array) -> tuple[float, float]:
    """How far to shrink the covariance of centred rows towards a multiple of the identity, and which.

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    The sums over pairs of features are taken over pairs of samples where those are fewer.

    Returns:
        The share in [0, 1] of the identity, and the mean variance it is multiplied with (divisor n).
    """
    n, d = centred.shape
    gram = centred @ centred.T if n < d else centred.T @ centred
    target = float((centred**2).sum()) / (n * d)
    squared = float((gram**2).sum()) / n**2  # of the covariance's Frobenius norm
    distance = squared - d * target**2
    spread = float(((centred**2).sum(axis=1) ** 2).sum()) / n**2 - squared / n
    return (min(max(spread / distance, 0.0), 1.0) if distance > 0 else 0.0), target


def centre(rows: Array) -> Array:
    """``rows`` less their mean; a constant column becomes exactly zero, whatever its value."""
    shifted = rows - rows[0]
    return shifted - shifted.mean(axis=0)


def compress(first: Gaussian, second: Gaussian) -> tuple[Gaussian, Gaussian]:
    """Both, in coordinates of the space that all their rows span, where that is smaller than theirs.

    Distances and angles stay, and outside that space both covariances are a multiple of the identity, so a
    map between the two cannot leave it. Nothing of size d x d is made when d exceeds 2 n. The means, of no
    use in other coordinates, become zero, and the traces are those of the smaller space.
    """
    n, d = first.rows.shape
    if d <= 2 * n:
        return first, second
    coordinates = triangular_factor(namespace(first.rows).vstack([first.rows, second.rows]).T).T
    origin = coordinates[0] * 0
    return (
        replace(first, mean=origin, rows=coordinates[:n]),
        replace(second, mean=origin, rows=coordinates[n:]),
    )


def triangular_factor(matrix: Array) -> Array:
    """R of ``matrix = Q R`` with orthonormal columns in Q."""
    factors = namespace(matrix).linalg.qr(matrix, mode="r")
    return factors[1] if is_torch(matrix) else factors


def _identity(rows: Array) -> Array:
    """Of the size of a row, where the rows are."""
    where: dict[str, Any] = {"device": rows.device} if is_torch(rows) else {}
    return namespace(rows).eye(rows.shape[1], dtype=rows.dtype, **where)
