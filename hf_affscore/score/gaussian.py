"""Mean and covariance of rows in one object, and the optimal transport map between two of them.

A covariance is kept as what it is made of, ``weight * rows.T @ rows + ridge * I``: a sample and two numbers.
The ridge of the paper and the target of Ledoit and Wolf's shrinkage are then one and the same thing, the sums
of products are shared by everybody who needs them, and where squaring the rows would cost too many digits the
map is computed without doing so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hf_affscore.score.arrays import (
    Array,
    cholesky,
    identity,
    namespace,
    triangular_factor,
)
from hf_affscore.score.sample import Sample

#: The ridge of ``regularization="relative"``, in units of the mean variance of the features.
RELATIVE_RIDGE = 1e-6

#: Up to this rounding error of a map from the covariances it stays as it is; beyond it is refined. On 150
#: layers, real and synthetic, the score's own error was at most a twentieth of this number.
NEGLIGIBLE = 2e-8

#: A step of the refinement that starts at most this far from the map is the last; one that starts further
#: off than the second number does not converge; after so many steps there is something wrong.
SETTLED, LOST, STEPS = 1e-5, 0.1, 8

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
        >>> import numpy as np
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
        lower = cholesky(other.covariance)
        if lower is None:
            return None
        values, vectors = namespace(lower).linalg.eigh(lower.T @ self.covariance @ lower)
        if not values[0] > 0:
            return None
        found = LinearMap(basis=lower @ vectors, spectrum=values**0.5)
        return found if found.rounding <= NEGLIGIBLE else self._refined(found)

    def _refined(self, found: LinearMap) -> LinearMap | None:
        """The same map with all its digits, by Newton's iteration; None where that does not converge.

        The map is right when ``inner @ (basis.T @ covariance @ basis) @ inner`` is the identity. The product
        in the middle is made from the rows in the coordinates of the map, small where its diagonal is small,
        and so has the digits that the covariance had lost.
        """
        basis, spectrum = found.basis, found.spectrum
        coordinates = self.sample.centred @ basis
        product = self.weight * (coordinates.T @ coordinates) + self.ridge * (basis.T @ basis)
        unit = identity(basis)
        sums = spectrum[:, None] + spectrum
        inner = namespace(basis).diag(1 / spectrum)
        misfit = product / (spectrum[:, None] * spectrum) - unit
        for _ in range(STEPS):
            worst = float(abs(misfit).max())
            if not worst <= LOST:
                return None
            inner = inner - misfit / sums
            if worst <= SETTLED:
                return LinearMap(basis, spectrum, inner)
            misfit = inner @ product @ inner - unit
        return None

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
        inner: Shape ``(k, k)``, what has to stand in place of ``diag(1 / spectrum)`` where rounding left the
            spectrum with too few digits.
    """

    basis: Array
    spectrum: Array
    inner: Array | None = None

    @property
    def matrix(self) -> Array:
        """Shape ``(d, d)``, symmetric and positive semi-definite."""
        if self.inner is not None:
            return self.basis @ self.inner @ self.basis.T
        half = self.basis / self.spectrum**0.5
        return half @ half.T

    @property
    def rounding(self) -> float:
        """About the relative error of the map if ``spectrum`` is from an eigendecomposition in float64.

        Every eigenvalue ``s^2`` has an error of about the largest one's last digit, and moves the part of the
        target's variance that lies in its direction.
        """
        variance = (self.basis**2).sum(axis=0)
        error = 2.0**-52 * (self.spectrum[-1] / self.spectrum) ** 2
        return float((variance * error).sum() / variance.sum())


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
