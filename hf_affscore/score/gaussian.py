"""Mean and covariance of rows in one object, and the optimal transport map between two of them.

A covariance is kept as what it is made of, ``weight * rows.T @ rows + ridge * I``: a sample and two numbers.
The ridge of the paper and the target of Ledoit and Wolf's shrinkage are then one and the same thing, the sums
of products are shared by everybody who needs them, and where squaring the rows would cost too many digits the
map is computed without doing so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hf_affscore.score.arrays import (
    Array,
    cholesky,
    identity,
    is_torch,
    namespace,
    solve_lower,
    triangular_factor,
)
from hf_affscore.score.sample import Sample

#: The ridge of ``regularization="relative"``, in units of the mean variance of the features.
RELATIVE_RIDGE = 1e-6

#: Up to this product of the condition numbers of both covariances the map is computed from the covariances,
#: three times faster, and moved no score of 35 real layers by more than 3e-11; beyond it from the rows.
WELL_CONDITIONED = 1e13

#: Up to this many features the rows are always used: it costs a few milliseconds.
NARROW = 128

Regularization = float | Literal["relative"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution in d dimensions around zero.

    Attributes:
        sample: What it was fitted to.
        weight: What one sample counts in the covariance ``weight * rows.T @ rows + ridge * I``.
        ridge: What is added to every variance.

    Example:
        >>> rows = Sample(np.array([[-1.0], [1.0]]))
        >>> narrow, wide = Gaussian(rows, weight=0.5, ridge=0.0), Gaussian(rows, weight=2.0, ridge=0.0)
        >>> narrow.affine_map_to(wide).matrix  # variance 1 to 4: x -> 2 x
        array([[2.]])
    """

    sample: Sample
    weight: float
    ridge: float

    @classmethod
    def fit(cls, sample: Sample, *, shrinkage: bool, regularization: Regularization) -> Gaussian:
        """The normal distribution with the covariance of ``sample``.

        Args:
            sample: Rows of shape ``(n, d)``, n >= 2.
            shrinkage: Ledoit and Wolf's covariance (divisor n) instead of the sample's (divisor n - 1).
            regularization: Ridge added to the covariance; ``"relative"`` takes 1e-6 of its mean variance.
        """
        n, d = sample.shape
        weight, ridge = 1 / (n - 1), 0.0
        if shrinkage:
            share, target = ledoit_wolf(sample)
            weight, ridge = (1 - share) / n, share * target
        if regularization == "relative":
            ridge += RELATIVE_RIDGE * (weight * sample.total / d + ridge)
        else:
            ridge += regularization
        return cls(sample, weight, ridge)

    @property
    def covariance(self) -> Array:
        """Shape ``(d, d)``."""
        rows = self.sample.centred
        product = rows.T @ rows if self.sample.wide else self.sample.product
        return self.weight * product + self.ridge * identity(rows)

    @property
    def total_variance(self) -> float:
        """The trace of the covariance."""
        return self.weight * self.sample.total + self.ridge * self.sample.shape[1]

    @property
    def root(self) -> Array:
        """Upper triangular R of shape ``(d, d)`` with ``R.T @ R`` the covariance, without forming that."""
        rows = self.sample.centred
        return triangular_factor(
            namespace(rows).vstack([self.weight**0.5 * rows, self.ridge**0.5 * identity(rows)])
        )

    def affine_map_to(self, other: Gaussian) -> LinearMap:
        """The optimal transport map onto ``other`` for squared Euclidean cost.

        Its matrix is the only positive semi-definite A with ``A @ covariance @ A == other.covariance``
        (paper, section 2). Directions without variance are left out, as a pseudo-inverse does.
        """
        map_ = self._map_from_covariances(other) if self.sample.shape[1] > NARROW else None
        return map_ or self._map_from_roots(other)

    def _map_from_covariances(self, other: Gaussian) -> LinearMap | None:
        """The map, or None where products of the rows keep too few digits.

        With ``other.covariance = L @ L.T`` and ``L.T @ covariance @ L = V diag(s)^2 V.T`` the basis is
        ``L @ V``.
        """
        own, its = self.covariance, other.covariance
        lower_own, lower = cholesky(own), cholesky(its)
        if lower_own is None or lower is None:
            return None
        if condition(own, lower_own) * condition(its, lower) > WELL_CONDITIONED:
            return None
        values, vectors = namespace(own).linalg.eigh(lower.T @ own @ lower)
        return LinearMap(basis=lower @ vectors, spectrum=values**0.5)

    def _map_from_roots(self, other: Gaussian) -> LinearMap:
        """The same from roots R and S of the covariances: ``R @ S.T = U diag(s) V.T``, the basis ``S.T @ V``.

        Nothing is squared, which keeps twice as many digits.
        """
        root = other.root
        _, singular, vt = namespace(root).linalg.svd(self.root @ root.T)
        kept = singular > singular[0] * len(singular) * 2.0**-52
        return LinearMap(basis=root.T @ vt[kept].T, spectrum=singular[kept])


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``A = basis @ diag(1 / spectrum) @ basis.T``, in the form in which its derivative is simple.

    Attributes:
        basis: B of shape ``(d, k)`` with ``B @ B.T`` the target's covariance; k <= d is the rank.
        spectrum: s of shape ``(k,)``, positive, with ``B.T @ covariance @ B = diag(s)^2`` for the source.
    """

    basis: Array
    spectrum: Array

    @property
    def matrix(self) -> Array:
        """Shape ``(d, d)``, symmetric and positive semi-definite."""
        half = self.basis / self.spectrum**0.5
        return half @ half.T


def condition(matrix: Array, lower: Array) -> float:
    """About the condition number of a covariance with this Cholesky factor: ``tr C tr C^-1 / d``.

    Hutchinson's estimate of the second trace with eight vectors of signs; within a factor of ten on real
    activations, from 1e4 to 1e11.
    """
    xp, d = namespace(matrix), len(matrix)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(d, 8))
    probes = xp.asarray(signs, device=matrix.device) if is_torch(matrix) else signs
    inverse_trace = float((solve_lower(lower, probes) ** 2).sum()) / 8
    return float(xp.trace(matrix)) * inverse_trace / d


def compress(pre: Gaussian, post: Gaussian) -> tuple[Gaussian, Gaussian]:
    """Both in coordinates of the space that all their rows span, where that is smaller than theirs.

    Distances and angles stay, and outside that space both covariances are a multiple of the identity, so a
    map between the two cannot leave it. Nothing of size d x d is made when d exceeds 2 n, nor a copy of the
    rows: the coordinates come from products of rows. The traces become those of the smaller space.
    """
    n, d = pre.sample.shape
    if d <= 2 * n:
        return pre, post
    xp = namespace(pre.sample.rows)
    cross = pre.sample.centred @ post.sample.centred.T
    products = xp.vstack([xp.hstack([pre.sample.product, cross]), xp.hstack([cross.T, post.sample.product])])
    values, vectors = xp.linalg.eigh(products)
    kept = values > values[-1] * len(values) * 2.0**-52
    coordinates = vectors[:, kept] * values[kept] ** 0.5
    return (
        Gaussian(Sample(coordinates[:n]), pre.weight, pre.ridge),
        Gaussian(Sample(coordinates[n:]), post.weight, post.ridge),
    )


def ledoit_wolf(sample: Sample) -> tuple[float, float]:
    """How far to shrink the covariance of a sample towards a multiple of the identity, and which.

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.

    Returns:
        The share in [0, 1] of the identity, and the mean variance it is multiplied with (divisor n).
    """
    n, d = sample.shape
    target = sample.total / (n * d)
    squared = (sample.frobenius / n) ** 2
    distance = squared - d * target**2
    fourth = float(((sample.centred**2).sum(axis=1) ** 2).sum())
    spread = fourth / n**2 - squared / n
    return (min(max(spread / distance, 0.0), 1.0) if distance > 0 else 0.0), target
