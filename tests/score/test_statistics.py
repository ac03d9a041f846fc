"""Each companion statistic against the library or the formula it stands for."""

import math

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LinearRegression

from hf_affscore.score import STATISTICS, statistics
from hf_affscore.score.gaussian import Gaussian, ledoit_wolf
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.statistics import histograms

SHAPES = [(300, 7), (40, 60), (50, 1), (64, 64)]


def layer(shape):
    x = np.random.default_rng(5).normal(size=shape) @ np.diag(np.linspace(0.1, 4, shape[1])) + 1
    return x, np.maximum(x, 0)


def statistic(name, x, y):
    return STATISTICS[name](Layer(Sample(np.asarray(x)), Sample(np.asarray(y))))


@pytest.mark.parametrize("shape", SHAPES)
def test_r2_is_scikit_learns(shape):
    x, y = layer(shape)
    expected = LinearRegression().fit(x, y).score(x, y)
    assert statistic("r2", x, y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rank", [15, 80])
def test_r2_with_more_features_than_samples(rank):
    rng = np.random.default_rng(2)
    basis = rng.normal(size=(40, rank))
    x, y = basis @ rng.normal(size=(rank, 90)), rng.normal(size=(40, 90))
    expected = LinearRegression().fit(basis, y).score(basis, y)
    assert statistic("r2", x, y) == pytest.approx(expected, abs=1e-9)
    assert (expected == pytest.approx(1)) == (rank > 40)


def test_r2_with_dependent_and_nearly_dependent_features():
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(200, 4))
    x = basis @ rng.normal(size=(4, 9))
    y = np.tanh(x)
    expected = LinearRegression().fit(basis, y).score(basis, y)  # the same span, with full rank
    assert statistic("r2", x, y) == pytest.approx(expected, abs=1e-9)
    # Dependent up to float32 rounding, which explains nothing; scikit-learn leaves it out, too.
    noisy = x.astype(np.float32).astype(np.float64)
    assert np.linalg.matrix_rank(noisy - noisy.mean(0)) == 9
    assert statistic("r2", noisy, y) == pytest.approx(expected, abs=1e-9)
    assert LinearRegression().fit(noisy, y).score(noisy, y) == pytest.approx(expected, abs=1e-9)


def bottleneck(spectrum, d=300, n=700):
    """Features after a linear layer that widens a narrow one, rounded to float32."""
    rng = np.random.default_rng(6)
    narrow = rng.normal(size=(n, len(spectrum))) * spectrum
    wide = narrow @ np.linalg.qr(rng.normal(size=(d, len(spectrum)))).Q.T + rng.normal(size=d)
    return wide.astype(np.float32)


@pytest.mark.parametrize(
    ("spectrum", "low"),
    [
        (np.linspace(0.5, 2, 40), True),
        (np.logspace(0, -3, 40), True),
        (np.logspace(0, -9, 60), False),  # no gap between what counts and what does not
        (np.linspace(0.5, 2, 200), False),
    ],
)
def test_r2_after_a_bottleneck_is_that_of_an_eigendecomposition(monkeypatch, spectrum, low):
    x = bottleneck(spectrum)
    y = np.maximum(x, 0)
    sample = Layer(Sample(x), Sample(y))
    assert (statistics._explained_at_low_rank(sample) is not None) == low
    found = statistic("r2", x, y)
    monkeypatch.setattr(statistics, "_explained_at_low_rank", lambda layer: None)
    monkeypatch.setattr(statistics, "_explained_at_full_rank", lambda layer: None)
    assert found == pytest.approx(statistic("r2", x, y), abs=1e-12)


@pytest.mark.parametrize("small", [1.05e-6, 1.5e-6, 3e-6, 1e-5])
@pytest.mark.parametrize(("d", "rank", "more"), [(256, 4, 1), (300, 20, 1), (768, 200, 5)])
def test_r2_sees_directions_that_barely_count(small, d, rank, more):
    rng = np.random.default_rng(0)
    left = rng.normal(size=(2 * d, rank + more))
    left = np.linalg.qr(left - left.mean(axis=0)).Q
    right = np.linalg.qr(rng.normal(size=(d, rank + more))).Q
    x = left * np.r_[np.ones(rank), np.full(more, small)] @ right.T
    along = np.outer(left[:, -1], rng.normal(size=d))  # explained by what barely counts alone
    assert statistic("r2", x, along) == pytest.approx(1, abs=1e-3)  # an eigendecomposition has 1e-4


def test_r2_counts_a_constant_feature_as_explained():
    x, y = layer((50, 3))
    y[:, 1] = 0.1
    others = [statistic("r2", x, y[:, [k] * 3]) for k in (0, 2)]
    assert statistic("r2", x, y) == pytest.approx((sum(others) + 1) / 3, abs=1e-12)
    x[:, 2] = 7  # a constant feature before explains nothing
    y[:, 1] = 0
    assert statistic("r2", x, y) == pytest.approx(
        LinearRegression().fit(x[:, :2], y).score(x[:, :2], y), abs=1e-9
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_cka_is_the_ratio_of_centred_gram_matrices(shape):
    x, y = layer(shape)
    n = len(x)
    centring = np.eye(n) - 1 / n
    k, m = (centring @ z @ z.T @ centring for z in (x, y))
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert statistic("cka", x, y) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(statistic("cka", x, np.ones_like(y)))


@pytest.mark.parametrize("shape", SHAPES)
def test_shrinkage_is_scikit_learns(shape):
    x, _ = layer(shape)
    share, target = ledoit_wolf(Sample(x))
    ours = (1 - share) * np.cov(x.T, bias=True) + share * target * np.eye(shape[1])
    expected = LedoitWolf().fit(x).covariance_
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    fitted = Gaussian.fit(Sample(x), shrinkage=True, regularization=1e-3).covariance
    np.testing.assert_allclose(fitted, expected + 1e-3 * np.eye(shape[1]), atol=1e-12)


@pytest.mark.parametrize("d", [1, 10, 96, 144])
def test_histograms_are_numpys_also_on_the_edges_of_bins(d):
    rng = np.random.default_rng(3)
    on_edges = [rng.integers(0, d + 1, (200, d)) * 0.1, rng.integers(0, d + 1, (200, d)) / d + 0.3]
    rows = np.concatenate([rng.normal(size=(50, d)), np.ones((2, d)), *on_edges])
    np.testing.assert_array_equal(histograms(rows), [np.histogram(row, d)[0] for row in rows])


@pytest.mark.parametrize(
    "rows", [[[1e6, 1e6 + 1e-9, 1e6]], [[1.0, 1 + 2**-48, 1 + 2**-49, 1.0]], [[-3e16, 5e16]]]
)
def test_histograms_are_numpys_where_rounding_reaches_across_bins(rows):
    rows = np.array(rows)
    np.testing.assert_array_equal(histograms(rows), [np.histogram(row, len(row))[0] for row in rows])


def test_a_constant_row_too_large_for_a_bin_around_it_lies_in_one():
    assert (np.sort(histograms(np.full((2, 3), 1e17))) == [0, 0, 3]).all()
    assert histograms(np.full((2, 1), 1e17)).tolist() == [[1], [1]]


def test_entropy_of_a_uniform_histogram_is_twice_log_d():
    rows = np.tile(np.arange(8.0), (4, 1))
    assert statistic("entropy_pre", rows, rows * 0) == pytest.approx(2 * np.log(8))
    assert statistic("entropy_post", rows, rows * 0) == pytest.approx(np.log(8))


def test_entropy_does_not_depend_on_the_block(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(33, 16))
    whole = statistic("entropy_pre", rows, rows)
    monkeypatch.setattr("hf_affscore.score.statistics.BLOCK", 64)
    assert statistic("entropy_pre", rows, rows) == pytest.approx(whole, abs=1e-13)


def test_norm_is_frobenius():
    assert statistic("norm", [[3.0], [0.0]], [[0.0], [4.0]]) == 5
