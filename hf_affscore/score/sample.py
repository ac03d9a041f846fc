"""The rows on one side of an activation, or on both, with the sums that several statistics share.

Each sum is computed when first used and then kept: the covariances of the score, Ledoit and Wolf's
shrinkage, CKA and the regression all need the same products of centred rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from hf_affscore.score.arrays import Array, diagonal, doubled, namespace
from hf_affscore.score.once import once


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of shape ``(n, d)`` in the precision they came in; every sum over them is float64."""

    rows: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Number of samples and of features."""
        n, d = self.rows.shape
        return int(n), int(d)

    @property
    def wide(self) -> bool:
        """Whether there are more features than samples; products are then taken over pairs of samples."""
        n, d = self.shape
        return d > n

    @once
    def centred(self) -> Array:
        """The rows less their mean; a constant feature becomes exactly zero, whatever its value."""
        shifted = self.rows - doubled(self.rows[0])  # float32 less float64 is exact
        shifted -= shifted.mean(axis=0)
        return shifted

    @once
    def product(self) -> Array:
        """Sums of products of centred rows: ``(d, d)`` over pairs of features, ``(n, n)`` if wide."""
        rows = self.centred
        return rows @ rows.T if self.wide else rows.T @ rows

    @once
    def moments(self) -> Array:
        """Sums of products of centred rows over pairs of features, ``(d, d)``, for both covariances of a layer."""
        return self.centred.T @ self.centred if self.wide else self.product

    @once
    def squares(self) -> Array:
        """Sum of squares of every centred feature, shape ``(d,)``."""
        if not self.wide:
            return self.product[diagonal(self.product)]
        return namespace(self.rows).einsum("ij,ij->j", self.centred, self.centred)

    @once
    def lengths(self) -> Array:
        """Squared length of every centred row, shape ``(n,)``."""
        if self.wide:
            return self.product[diagonal(self.product)]
        return namespace(self.rows).einsum("ij,ij->i", self.centred, self.centred)

    @once
    def total(self) -> float:
        """Sum of squares of all centred entries."""
        return float(self.squares.sum())

    @once
    def frobenius(self) -> float:
        """Frobenius norm of the sums of products, the same over features and over samples."""
        return float((self.product**2).sum() ** 0.5)


@dataclass(frozen=True, eq=False)
class Layer:
    """The rows before and after one activation: as many of either, mostly of one width."""

    pre: Sample
    post: Sample

    @once
    def cross(self) -> Array:
        """Sums of products of features before with features after, shape ``(d_pre, d_post)``."""
        return self.pre.centred.T @ self.post.centred

    @property
    def in_span(self) -> Layer:
        """The centred rows in coordinates of the space that all of them span, where that is smaller than theirs.

        Lengths and angles stay, and outside that space both covariances are a multiple of the identity, so a map
        between the two cannot leave it. Nothing of size d x d is made when d exceeds 2 n, nor a copy of the rows:
        the coordinates come from products of rows.
        """
        n, d = self.pre.shape
        return self if d <= 2 * n else Layer(Sample(self._coordinates[:n]), Sample(self._coordinates[n:]))

    @once
    def _coordinates(self) -> Array:
        """Of the rows of both sides, ``(2 n, k)``: of rows of length 1 first, so that long ones hide none."""
        xp, cross = namespace(self.pre.rows), self.pre.centred @ self.post.centred.T
        products = xp.vstack([xp.hstack([self.pre.product, cross]), xp.hstack([cross.T, self.post.product])])
        lengths = products[diagonal(products)] ** 0.5
        lengths[lengths == 0] = 1
        products /= lengths[:, None] * lengths
        values, vectors = xp.linalg.eigh(products)
        kept = values > values[-1] * len(values) * 2.0**-52
        coordinates: Array = lengths[:, None] * vectors[:, kept] * values[kept] ** 0.5
        return coordinates
