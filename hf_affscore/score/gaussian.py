"""Mean and covariance of rows in one object, and the optimal transport map between two of them.

A covariance is kept as its parts, ``weight * rows.T @ rows + ridge * I``: a sample and two numbers. The ridge of
the paper and the target of Ledoit and Wolf's shrinkage are then the same kind of term, the products of the rows
are computed once for all statistics that use them, and where squaring the rows would lose too many digits the
map is computed from the rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from hf_affscore.score.arrays import (
    Array,
    diagonal,
    identity,
    namespace,
    symmetric_pencil,
    triangular_factor,
)
from hf_affscore.score.sample import Sample

#: The ridge of ``regularization="relative"``, in units of the mean variance of the features.
RELATIVE_RIDGE = 1e-6

#: Newton's iteration: a step from an error of at most ``CONVERGED`` is the last (its own error is about the square
#: of that); from an error above ``DIVERGED`` the iteration does not converge; and it takes at most ``STEPS``.
CONVERGED, DIVERGED, STEPS = 1e-4, 0.1, 8

#: Below these shares of the largest, eigenvalues of a product of covariances have less than three digits, and less
#: than nine.
UNRELIABLE, INEXACT = 2.0**-44, 2.0**-24

#: About as many columns of a basis show how large the rounding error of a map is.
COLUMNS = 64

#: Up to this many features the rows are always used: it costs a few milliseconds.
NARROW = 128

Regularization = float | Literal["relative"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A normal distribution in d dimensions around zero.

    Attributes:
        sample: The rows it was fitted to.
        weight: Factor of the rows' products in the covariance ``weight * rows.T @ rows + ridge * I``.
        ridge: Added to every variance.

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
            ridge += float(regularization)
        return cls(sample, weight, ridge)

    @property
    def covariance(self) -> Array:
        """Shape ``(d, d)``."""
        covariance = self.weight * self.sample.moments
        covariance[diagonal(covariance)] += self.ridge
        return covariance

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
        *_, exact = self.affine_maps_to(other)
        return exact

    def affine_maps_to(self, other: Gaussian) -> Iterator[LinearMap]:
        """The map, and where it can be improved, the same map again with a smaller rounding error.

        :meth:`LinearMap.rounding` estimates what the rounding error of a map means for a score.
        """
        pencil = (
            symmetric_pencil(self.covariance, other.covariance) if self.sample.shape[1] > NARROW else None
        )
        found = None
        if pencil is not None:
            squares, basis = pencil
            if squares[0] > UNRELIABLE * squares[-1]:
                found = LinearMap(basis, squares**0.5, improvable=True)
                yield found
            if not squares[0] > INEXACT * squares[-1]:
                found = self._solved_again(squares, basis)
                if found is not None:
                    yield found
        if found is not None:
            found = self._refined(found)
        yield self._map_from_roots(other) if found is None else found

    def _solved_again(self, squares: Array, basis: Array) -> LinearMap | None:
        """A map, solved for again in directions of small eigenvalues, from the rows in their coordinates.

        Directions in which neither side varies beyond its ridge have eigenvalues as small as rounding, and come
        out mixed with one another.

        Args:
            squares: The eigenvalues, ascending, shape ``(d,)``; changed in place.
            basis: The directions, shape ``(d, d)``; changed in place.

        Returns:
            The map; None where eigenvalues are not positive.
        """
        few = int((squares < INEXACT * squares[-1]).sum())
        squares[:few], vectors = namespace(basis).linalg.eigh(self._in_coordinates(basis[:, :few]))
        basis[:, :few] = basis[:, :few] @ vectors
        return LinearMap(basis, squares**0.5, improvable=True) if squares.min() > 0 else None

    def _in_coordinates(self, basis: Array) -> Array:
        """``basis.T @ covariance @ basis`` from the rows in the coordinates of the basis, shape ``(k, k)``.

        Where its diagonal is small its entries are small too, so it keeps the digits that the covariance lost.
        """
        coordinates = self.sample.centred @ basis
        return self.weight * (coordinates.T @ coordinates) + self.ridge * (basis.T @ basis)

    def _refined(self, found: LinearMap) -> LinearMap | None:
        """The same map to working precision, by Newton's iteration; None where that does not converge.

        The map is right when ``inner @ (basis.T @ covariance @ basis) @ inner`` is the identity.
        """
        basis, spectrum = found.basis, found.spectrum
        product = self._in_coordinates(basis)
        inner = namespace(basis).diag(1 / spectrum)
        deviation = product / (spectrum[:, None] * spectrum)
        for _ in range(STEPS):
            deviation[diagonal(deviation)] -= 1
            worst = float(abs(deviation).max())
            if not worst <= DIVERGED:
                return None
            deviation /= spectrum[:, None] + spectrum
            inner -= deviation
            if worst <= CONVERGED:
                return LinearMap(basis, spectrum, inner)
            deviation = inner @ product @ inner
        return None

    def _map_from_roots(self, other: Gaussian) -> LinearMap:
        """The same from roots R and S of the covariances: ``R @ S.T = U diag(s) V.T``, the basis ``S.T @ V``.

        Nothing is squared, so twice as many digits are kept.
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
        inner: Shape ``(k, k)``; replaces ``diag(1 / spectrum)`` where rounding left the spectrum with too few
            digits.
        improvable: Whether the same map can be had with a smaller rounding error.
    """

    basis: Array
    spectrum: Array
    inner: Array | None = None
    improvable: bool = False

    @property
    def matrix(self) -> Array:
        """Shape ``(d, d)``, symmetric and positive semi-definite."""
        if self.inner is not None:
            return self.basis @ self.inner @ self.basis.T
        half = self.basis / self.spectrum**0.5
        return half @ half.T

    def rounding(self, source: Gaussian, residual: Callable[[Array], Array]) -> tuple[float, float]:
        """What rounding in the map means for a mean squared distance, measured along some columns of the basis.

        ``basis.T @ covariance @ basis`` should be ``diag(s)^2``. Where it misses that by m_ij, the map is wrong by
        ``basis @ Z @ basis.T`` with ``Z_ij = m_ij / (s_i s_j (s_i + s_j))`` to first order. Columns are taken to
        err independently of one another.

        Args:
            source: What the map starts from.
            residual: Gives the products of ``T(x)`` less the row that it is coupled with, for all samples, and
                some columns: ``(d, m)`` to ``(n, m)``.

        Returns:
            Estimates of the mean inner product of residual and error, and of the mean square of the error.
        """
        if len(self.spectrum) == 0:
            return 0.0, 0.0
        rows, spectrum = source.sample.centred, self.spectrum[:, None]
        some = slice(None, None, max(1, len(spectrum) // COLUMNS))  # with the smallest, which errs most
        columns = self.basis[:, some]
        missed = self.basis.T @ (source.weight * (rows.T @ (rows @ columns)) + source.ridge * columns)
        own = missed[some]
        own[diagonal(own)] -= self.spectrum[some] ** 2
        error = missed / spectrum / self.spectrum[some] / (spectrum + self.spectrum[some])  # no overflow
        along = self.basis.T @ (rows.T @ residual(columns)) / len(rows)
        share = len(spectrum) / len(own)
        first = share * float(((error * along) ** 2).sum() + ((error * along).sum(axis=0) ** 2).sum())
        lengths = (self.basis**2).sum(axis=0)
        spread = (self.spectrum**2 - source.ridge * lengths).clip(0)  # of the rows, without the ridge
        second = share * float((lengths[some] * (spread[:, None] * error**2)).sum())
        return first**0.5, second


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
    fourth = float((sample.lengths**2).sum())
    spread = fourth / n**2 - squared / n
    return (min(max(spread / distance, 0.0), 1.0) if distance > 0 else 0.0), target
