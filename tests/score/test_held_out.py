"""R^2 of held-out images against scikit-learn, which fits once for each of them, and what it has to be."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from hf_affscore.errors import InputError
from hf_affscore.score import held_out
from hf_affscore.score.held_out import (
    GRID,
    choose_ridge,
    num_choosing,
    num_held_out,
    r2_heldout,
    r2_heldout_of,
)
from hf_affscore.score.sample import Layer, Sample

#: More images than features and fewer, few outputs and many, one of either.
SHAPES = [
    (60, 5, 5),
    (60, 7, 90),
    (40, 60, 3),
    (40, 90, 120),
    (31, 31, 31),
    (50, 1, 4),
    (50, 4, 1),
    (41, 40, 2),
]


def images(n, inputs, outputs, noise=0.3, seed=0):
    """Inputs of unequal variances, and outputs that are a linear map, a bend and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, inputs)) * np.logspace(0, -2, inputs) + 3
    linear = x @ rng.normal(size=(inputs, outputs)) / inputs**0.5
    return x, np.maximum(linear, linear.mean()) + noise * rng.normal(size=(n, outputs))


def evenly(places, count):
    count = min(count, len(places))
    return places[np.arange(count) * len(places) // count]


def by_scikit_learn(x, y):
    """The same by fits, one for each held-out image, and the choice of the ridge by RidgeCV."""
    n, d = x.shape
    chosen = evenly(np.arange(n), num_choosing(n, d))
    held = evenly(np.setdiff1d(np.arange(n), chosen), num_held_out(n, d))
    scale = x[chosen].var(axis=0).mean() * len(chosen)
    ridge = RidgeCV(alphas=scale * np.array(GRID)).fit(x[chosen], y[chosen]).alpha_
    predicted = cross_val_predict(Ridge(ridge, solver="svd"), x, y, cv=LeaveOneOut()).reshape(y.shape)
    means = (y.sum(axis=0) - y) / (n - 1)
    return 1 - ((y - predicted)[held] ** 2).sum() / ((y - means)[held] ** 2).sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.3, 30.0])
def test_it_is_scikit_learns_cross_validation(shape, noise):
    x, y = images(*shape, noise)
    assert r2_heldout(x, y) == pytest.approx(by_scikit_learn(x, y), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_of_wide_layers_some_images_are_held_out(shape, monkeypatch):
    monkeypatch.setattr(held_out, "WORK", 0)
    monkeypatch.setattr(held_out, "LEAST", 9)
    x, y = images(*shape)
    assert num_held_out(*x.shape) == 9
    assert r2_heldout(x, y) == pytest.approx(by_scikit_learn(x, y), abs=1e-9)


def test_images_are_predicted_a_few_at_a_time(monkeypatch):
    x, y = images(60, 5, 7)
    together = r2_heldout(x, y)
    monkeypatch.setattr(held_out, "TOGETHER", 7)
    assert r2_heldout(x, y) == pytest.approx(together, abs=1e-12)


def test_the_number_held_out_grows_with_the_images():
    """As the rest of a record does: of 512 images of 192 features not all, of 2,048 four times as many."""
    assert [num_held_out(n, 192) for n in (512, 2048)] == [277, 1111]
    assert [num_held_out(n, 96) for n in (512, 2048)] == [448, 1984]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_road_of_an_accelerator_on_cpu_tensors(shape):
    x, y = images(*shape)
    there = r2_heldout_of(Layer(Sample(torch.from_numpy(x)), Sample(torch.from_numpy(y))))
    assert there == pytest.approx(r2_heldout(x, y), abs=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ridge_is_the_one_that_scikit_learn_chooses(shape):
    for seed in range(5):
        x, y = images(*shape, seed=seed)
        alphas = np.array(GRID) * x.var(axis=0).mean() * len(x)
        assert choose_ridge(Sample(x), Sample(y)) == pytest.approx(
            RidgeCV(alphas=alphas).fit(x, y).alpha_, rel=1e-9
        )


def test_unrelated_data_have_none_although_the_regression_fits_them():
    rng = np.random.default_rng(1)
    for n, d in ((100, 200), (400, 200), (30, 30)):
        x, y = rng.normal(size=(n, d)), rng.normal(size=(n, d))
        assert LinearRegression().fit(x, y).score(x, y) > 0.45
        assert -0.1 < r2_heldout(x, y) < 0.02


def test_a_linear_map_and_noise_have_the_share_of_the_map():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 20))
    y = x @ np.linalg.qr(rng.normal(size=(20, 20))).Q + 0.5 * rng.normal(size=(2000, 20))
    assert r2_heldout(x, y) == pytest.approx(1 / 1.25, abs=0.01)
    assert r2_heldout(x, x @ rng.normal(size=(20, 50))) == pytest.approx(1, abs=1e-9)


def test_relu_of_a_normal_distribution():
    x = np.random.default_rng(3).normal(size=(2000, 30))
    # E[x max(x, 0)] = 1/2 and Var max(x, 0) = 1/2 - 1 / (2 pi)
    assert r2_heldout(x, np.maximum(x, 0)) == pytest.approx(0.25 / (0.5 - 0.5 / math.pi), abs=0.02)


@pytest.mark.parametrize("shape", [(400, 30, 20), (40, 90, 20)])
def test_units_rotations_and_offsets_do_not_matter(shape):
    x, y = images(*shape)
    value, d = r2_heldout(x, y), shape[1]
    rng = np.random.default_rng(4)
    turned = x @ np.linalg.qr(rng.normal(size=(d, d))).Q
    assert r2_heldout(turned, y) == pytest.approx(value, abs=1e-9)
    assert r2_heldout(1e-3 * x + 5, 1e4 * y - 7) == pytest.approx(value, abs=1e-9)


def test_where_it_is_undefined():
    x, y = images(50, 4, 3)
    assert math.isnan(r2_heldout(x[:9], y[:9]))
    assert math.isnan(r2_heldout(x, np.ones((50, 2))))
    assert math.isnan(r2_heldout(np.ones((50, 2)), np.ones((50, 2))))
    assert math.isnan(r2_heldout(x, np.where(y > y.mean(), np.nan, y)))
    assert r2_heldout(np.ones((50, 2)), y) == 0
    one = np.zeros((50, 4))
    one[6, 2] = 1  # constant in one half, and among those that choose
    assert abs(r2_heldout(one, y)) < 0.05
    with pytest.raises(InputError, match="expected as many rows"):
        r2_heldout(x, y[1:])


def test_constant_columns_and_float32_change_nothing():
    x, y = images(60, 6, 5)
    value = r2_heldout(x, y)
    assert r2_heldout(
        np.hstack([x, np.ones((60, 6)) * 7]), np.hstack([y, np.ones((60, 1))])
    ) == pytest.approx(value, abs=0.01)
    assert r2_heldout(x.astype(np.float32), torch.from_numpy(y).float()) == pytest.approx(value, abs=1e-6)
