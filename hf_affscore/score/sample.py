"""The rows on one side of an activation, or on both, with the sums that several statistics share.

Each sum is computed when first used and then kept: the covariances of the score, Ledoit and Wolf's
shrinkage, CKA and the regression all need the same products of centred rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hf_affscore.score.arrays import Array, diagonal, doubled, namespace


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

    @cached_property
    def centred(self) -> Array:
        """The rows less their mean; a constant feature becomes exactly zero, whatever its value."""
        shifted = self.rows - doubled(self.rows[0])  # float32 less float64 is exact
        shifted -= shifted.mean(axis=0)
        return shifted

    @cached_property
    def product(self) -> Array:
        """Sums of products of centred rows: ``(d, d)`` over pairs of features, ``(n, n)`` if wide."""
        rows = self.centred
        return rows @ rows.T if self.wide else rows.T @ rows

    @cached_property
    def moments(self) -> Array:
        """Sums of products of centred rows over pairs of features, ``(d, d)``, for both covariances of a layer."""
        return self.centred.T @ self.centred if self.wide else self.product

    @cached_property
    def squares(self) -> Array:
        """Sum of squares of every centred feature, shape ``(d,)``."""
        if not self.wide:
            return self.product[diagonal(self.product)]
        return namespace(self.rows).einsum("ij,ij->j", self.centred, self.centred)

    @cached_property
    def lengths(self) -> Array:
        """Squared length of every centred row, shape ``(n,)``."""
        if self.wide:
            return self.product[diagonal(self.product)]
        return namespace(self.rows).einsum("ij,ij->i", self.centred, self.centred)

    @cached_property
    def total(self) -> float:
        """Sum of squares of all centred entries."""
        return float(self.squares.sum())

    @cached_property
    def frobenius(self) -> float:
        """Frobenius norm of the sums of products, the same over features and over samples."""
        return float((self.product**2).sum() ** 0.5)


@dataclass(frozen=True, eq=False)
class Layer:
    """The rows before and after one activation: as many of either, mostly of one width."""

    pre: Sample
    post: Sample

    @cached_property
    def cross(self) -> Array:
        """Sums of products of features before with features after, shape ``(d_pre, d_post)``."""
        return self.pre.centred.T @ self.post.centred
