"""R^2 of held-out images: how well a linear map predicts outputs of images that it has not seen.

The R^2 of a regression on the same images (:func:`hf_affscore.score.statistics.r2`) grows with the number of
features: it is 1 wherever there are more of them than images, whatever the output. Here every image is predicted by
a ridge regression on all *other* images: leave-one-out cross-validation, folds of a single image. Unrelated
data then have a value of about 0.

**Predictor.** Least squares of all outputs on all inputs with an intercept, and a penalty ``a |B|^2`` on the
coefficients; inputs and outputs are not rescaled. Nothing is fitted twice: without image i the residual is
``e_i / (1 - h_i)``, with the residual ``e_i`` and the leverage ``h_i`` of one fit to all images (Allen, 1974).

**Ridge.** The images are dealt alternately into two halves. One half is predicted with the ridge of :data:`GRID`
that has the least leave-one-out error among images of the other half, as scikit-learn's ``RidgeCV`` chooses it.
So no image has a part in the choice of the ridge it is predicted with.

**R^2.** One less the squared errors, summed over the held-out images and all outputs, over the squared distances of
the same images from the mean of the others: outputs count by their variance, and the mean alone has 0.

The cost is that of one system of equations of the smaller of images and features. For wide layers some images stand
for all: :func:`num_held_out`, evenly spaced, are held out in each half, and :data:`CHOOSING` choose its ridge.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hf_affscore.errors import InputError
from hf_affscore.score.arrays import (
    Array,
    as_rows,
    defect,
    diagonal,
    namespace,
    solve_positive,
    triangular_factor,
)
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.threads import one_blas_thread

#: The penalties to choose from, in units of the mean sum of squares of an input feature.
GRID = tuple(10.0**exponent for exponent in range(-6, 3))

#: Images of either half that choose a ridge, at most, and the fewest images of both halves.
CHOOSING, FEWEST = 256, 10

#: Images held out in either half: as many as keep ``images * features^2`` below the first number, and at least
#: the second.
WORK, LEAST = 1 << 27, 128


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
    x, y = as_rows(pre, "pre"), as_rows(post, "post")
    if len(x) != len(y):
        raise InputError(
            f"pre has {len(x)} rows and post {len(y)}; expected as many: row i of post is what row i of pre became."
        )
    if len(x) < FEWEST or defect(x, y) is not None:
        return math.nan
    with one_blas_thread():
        return held_out(Layer(Sample(x), Sample(y)))


def held_out(layer: Layer) -> float:
    """The same for rows that have passed :func:`~hf_affscore.score.arrays.defect`, of one width or two."""
    n, d = layer.pre.shape
    if n < FEWEST or layer.post.total == 0:
        return math.nan
    if layer.pre.total == 0:
        return 0.0  # the mean of the others is all there is
    count, errors, distances = num_held_out(n, d), 0.0, 0.0
    for half in range(2):
        held = np.arange(half, n, 2)
        held, others = _evenly(held, count), _evenly(np.arange(1 - half, n, 2), CHOOSING)
        ridge = choose_ridge(Sample(layer.pre.rows[others]), Sample(layer.post.rows[others]))
        errors += float((_errors(layer, held, ridge) ** 2).sum())
        distances += float(((layer.post.centred[held] * (n / (n - 1))) ** 2).sum())
    return 1 - errors / distances if distances > 0 else math.nan


def num_held_out(num_samples: int, width: int) -> int:
    """How many images of either half are held out.

    Example:
        >>> num_held_out(2048, 96), num_held_out(2048, 960)
        (1024, 145)
    """
    return min((num_samples + 1) // 2, max(LEAST, WORK // width**2))


def choose_ridge(pre: Sample, post: Sample) -> float:
    """The penalty of :data:`GRID` with the least leave-one-out error among these samples.

    Returns:
        The factor of the squared coefficients beside a sum of squared errors over the samples, like ``alpha`` of
        scikit-learn's ``Ridge``. Infinity for a constant input.
    """
    n, d = pre.shape
    if pre.total == 0:
        return math.inf
    values, vectors = namespace(pre.rows).linalg.eigh(pre.product)
    values = values.clip(0)
    coordinates = vectors * values**0.5 if pre.wide else pre.centred @ vectors
    target = (
        triangular_factor(post.centred.T).T if post.wide else post.centred
    )  # of the same lengths and angles
    along, squared = coordinates.T @ target, coordinates**2
    best, least = math.inf, math.inf
    for share in GRID:
        weights = 1 / (values + share * pre.total / d)
        residuals = target - (coordinates * weights) @ along
        left = 1 - 1 / n - squared @ weights
        error = float(((residuals / left[:, None]) ** 2).sum())
        if error < least:
            best, least = share * pre.total / d, error
    return best


def _errors(layer: Layer, held: Any, ridge: float) -> Array:
    """Outputs of the held-out samples less what all other samples predict, shape ``(m, d_y)``."""
    pre, post, n = layer.pre, layer.post, len(layer.pre.rows)
    if ridge == math.inf:
        return post.centred[held] * (n / (n - 1))
    matrix = pre.product + 0.0
    matrix[diagonal(matrix)] += ridge
    if not pre.wide:
        weights = solve_positive(matrix, pre.centred[held])
        residuals = post.centred[held] - weights @ layer.cross
        return residuals / (1 - 1 / n - (weights * pre.centred[held]).sum(axis=1))[:, None]
    # The same, with residuals and leverages divided by the ridge. Centred rows say nothing along the direction of
    # equal entries. Its eigenvalue is made larger than the ridge, so that few digits are lost when it is taken out.
    mean = pre.total / n
    matrix += mean / n
    unit = pre.centred[held] @ pre.centred.T * 0
    own = (np.arange(len(held)), held)
    unit[own] = 1
    inverse = solve_positive(matrix, unit) - 1 / (n * (ridge + mean))
    return inverse @ post.centred / inverse[own][:, None]


def _evenly(places: Any, count: int) -> Any:
    """At most ``count`` of these places, evenly spaced."""
    count = min(count, len(places))
    return places[np.arange(count) * len(places) // count]
