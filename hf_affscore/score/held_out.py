"""R^2 of held-out images: how well a linear map predicts the outputs of images that it has not seen.

The R^2 of a regression on the same images (:func:`hf_affscore.score.statistics.r2`) grows with the number of
features: it is 1 wherever there are more of them than images, whatever the output. Here an image is predicted by a
ridge regression on all *other* images: leave-one-out cross-validation, folds of a single image. Unrelated data then
have a value of about 0.

**Predictor.** Least squares of all outputs on all inputs with an intercept, and a penalty ``a |B|^2`` on the
coefficients; inputs and outputs are not rescaled. Nothing is fitted twice: without image i the residual is
``e_i / (1 - h_i)``, with the residual ``e_i`` and the leverage ``h_i`` of one fit to all images (Allen, 1974).

**Ridge.** Some images, evenly spaced, choose it from :data:`GRID` by the leave-one-out error among them, as
scikit-learn's ``RidgeCV`` does. The other images are held out. So no image has a part in the choice of the ridge
that it is predicted with. Where coefficients and noise have fixed variances, the best penalty beside a *sum* of
squares is the same for any number of images. So the choice of few serves the fit to all
(``benchmarks/held_out.md`` has what it costs on real layers).

**R^2.** One less the squared errors, summed over the held-out images and all outputs, over the squared distances of
the same images from the mean of the others. Outputs count by their variance, and predicting the mean has 0.

The cost is that of one system of equations in the smaller of images and features. Of wide layers
:func:`num_held_out` images, evenly spaced, are held out, and stand for all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hf_affscore.score.arithmetic import own_arithmetic
from hf_affscore.score.arrays import (
    Array,
    as_row_pair,
    defect,
    diagonal,
    lower_factor,
    namespace,
    solve_lower,
)
from hf_affscore.score.sample import Layer, Sample

#: The penalties to choose from, in units of the mean sum of squares of an input feature.
GRID = tuple(10.0**exponent for exponent in range(-6, 3))

#: Images that choose the ridge: a quarter as many as features, within these bounds.
CHOOSING = 64, 256

#: The fewest images for which there is a value.
FEWEST = 10

#: How many images are held out: as many as keep their number times ``features^2`` below the first number for each
#: image that there is, since the rest of a record grows with those too, and at least the second.
WORK, LEAST = 20_000, 256

#: Held-out images of a narrow layer that are predicted at a time: large arrays would be new memory from the system.
TOGETHER = 256


def r2_heldout(pre: Any, post: Any) -> float:
    """R^2 of the ridge regression of ``post`` on ``pre``, on images that it has not seen.

    Args:
        pre: Inputs, shape ``(n, d_x)``, rows are samples, or ``(n,)`` for one feature. A numpy array or torch
            tensor of any real precision; computed in float64.
        post: Outputs of the same samples in the same order, shape ``(n, d_y)`` or ``(n,)``.

    Returns:
        At most 1; 0 is what the mean of the other images reaches, and less is worse than that. nan with fewer than
        10 samples, entries that are no finite numbers, or a constant output.

    Raises:
        InputError: Unequal numbers of rows, or no ``(n, d)``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, unrelated = rng.normal(size=(100, 200)), rng.normal(size=(100, 3))
        >>> round(r2_heldout(x, unrelated), 1), round(r2_heldout(x[:, :3], 2 * x[:, :2] + 1), 4)
        (-0.1, 1.0)
    """
    x, y = as_row_pair(pre, post, one_width=False)
    if len(x) < FEWEST or defect(x, y) is not None:
        return math.nan
    with own_arithmetic(x):
        return r2_heldout_of(Layer(Sample(x), Sample(y)))


def r2_heldout_of(layer: Layer) -> float:
    """The same for rows that have passed :func:`~hf_affscore.score.arrays.defect`, of one width or two."""
    n, d = layer.pre.shape
    if n < FEWEST or layer.post.total == 0:
        return math.nan
    if layer.pre.total == 0:
        return 0.0  # the mean of the others is all there is
    choosing = _evenly(np.arange(n), num_choosing(n, d))
    held = _evenly(np.delete(np.arange(n), choosing), num_held_out(n, d))
    ridge = choose_ridge(*(Sample(side.rows[choosing]) for side in (layer.pre, layer.post)))
    distances = float(layer.post.lengths[held].sum()) * (n / (n - 1)) ** 2
    if distances == 0:
        return math.nan
    return 0.0 if ridge == math.inf else 1 - _squared_errors(layer, held, ridge) / distances


def num_choosing(num_samples: int, width: int) -> int:
    """How many images choose the ridge; ``width`` is that of the inputs.

    Example:
        >>> num_choosing(2048, 96), num_choosing(2048, 960), num_choosing(50, 960)
        (64, 240, 25)
    """
    least, most = CHOOSING
    return min(num_samples // 2, max(least, min(width // 4, most)))


def num_held_out(num_samples: int, width: int) -> int:
    """How many of the others are held out.

    Example:
        >>> num_held_out(2048, 96), num_held_out(2048, 960), num_held_out(50, 960)
        (1984, 256, 25)
    """
    others = num_samples - num_choosing(num_samples, width)
    return min(others, max(LEAST, WORK * num_samples // width**2))


def choose_ridge(pre: Sample, post: Sample) -> float:
    """The penalty of :data:`GRID` with the least leave-one-out error among these samples.

    Args:
        pre: Their inputs.
        post: Their outputs.

    Returns:
        The factor of the squared coefficients beside a sum of squared errors over the samples, like ``alpha`` of
        scikit-learn's ``Ridge``. Infinity for a constant input.
    """
    if pre.total == 0:
        return math.inf
    ridges = [share * pre.total / pre.shape[1] for share in GRID]
    squares, left = (_of_each_over_samples if pre.wide else _of_each)(pre, post, ridges)
    return ridges[int((squares / left**2).sum(1).argmin())]


def _of_each(pre: Sample, post: Sample, ridges: list[float]) -> tuple[Array, Array]:
    """Squared residuals, and one less the leverages, for every ridge and sample: ``(ridges, n)`` each."""
    values, vectors = namespace(pre.rows).linalg.eigh(pre.product)
    coordinates = pre.centred @ vectors
    weights = namespace(values).stack([1 / (values.clip(0) + ridge) for ridge in ridges])
    residuals = (coordinates * weights[:, None, :]) @ (coordinates.T @ post.centred) - post.centred
    left = 1 - 1 / len(coordinates) - weights @ (coordinates**2).T
    return namespace(values).einsum("aij,aij->ai", residuals, residuals), left


def _of_each_over_samples(pre: Sample, post: Sample, ridges: list[float]) -> tuple[Array, Array]:
    """The same from products over samples.

    With their eigenvectors V and eigenvalues w a ridge a leaves the residuals ``V diag(s) V.T Y`` of the outputs Y,
    ``s = a / (w + a)``. One less the leverages is the diagonal of ``V diag(s) V.T``, less that of the mean.
    """
    values, vectors = namespace(pre.rows).linalg.eigh(pre.product)
    shares = namespace(values).stack([ridge / (values.clip(0) + ridge) for ridge in ridges])
    outputs = vectors.T @ (post.centred @ post.centred.T) @ vectors
    parts = vectors * shares[:, None, :]
    left = shares @ (vectors**2).T - 1 / len(vectors)
    return namespace(values).einsum("aij,aij->ai", parts @ outputs, parts), left


def _squared_errors(layer: Layer, held: Array, ridge: float) -> float:
    """Sum over the held-out samples of the squared distance of the output from what all other samples predict."""
    pre, n = layer.pre, len(layer.pre.rows)
    matrix = pre.product + 0.0
    matrix[diagonal(matrix)] += ridge
    if pre.wide:
        return _summed(*_over_samples(layer, held, matrix, ridge))
    factor = lower_factor(matrix)
    many = len(held) > len(factor)  # then the coefficients are the smaller part to solve for
    coefficients = solve_lower(factor, layer.cross.T).T if many else layer.cross
    total = 0.0
    for start in range(0, len(held), TOGETHER if many else len(held)):
        part = held[start : start + TOGETHER] if many else held
        whitened = solve_lower(factor, pre.centred[part])
        weights = whitened if many else solve_lower(factor, whitened, transposed=True)
        residuals = weights @ coefficients
        residuals -= layer.post.centred[part]
        total += _summed(residuals, 1 - 1 / n - _lengths(whitened))
    return total


def _summed(residuals: Array, left: Array) -> float:
    """The squared lengths of residuals, each over the square of one less the leverage, in one sum."""
    return float((_lengths(residuals) / left**2).sum())


def _over_samples(layer: Layer, held: Array, matrix: Array, ridge: float) -> tuple[Array, Array]:
    """Residuals, and one less the leverages, both divided by the ridge, from products over samples.

    Centred rows say nothing along the direction of equal entries. Its eigenvalue is made larger than the ridge, so
    that few digits are lost when it is taken out of the inverse.
    """
    n, own = len(matrix), (np.arange(len(held)), held)
    mean = layer.pre.total / n
    matrix += mean / n
    unit = matrix[held] * 0
    unit[own] = 1
    factor = lower_factor(matrix)
    inverse = solve_lower(factor, solve_lower(factor, unit), transposed=True) - 1 / (n * (ridge + mean))
    return inverse @ layer.post.centred, inverse[own]


def _lengths(rows: Array) -> Array:
    """The squared length of every row."""
    return namespace(rows).einsum("ij,ij->i", rows, rows)


def _evenly(places: Array, count: int) -> Array:
    """At most ``count`` of these places, evenly spaced."""
    count = min(count, len(places))
    return places[np.arange(count) * len(places) // count]
