"""Each companion statistic against the library or the formula it stands for."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LinearRegression

from hf_affscore.score import STATISTICS
from hf_affscore.score.gaussian import centre, ledoit_wolf
from hf_affscore.score.statistics import histograms

SHAPES = [(300, 7), (40, 60), (50, 1)]


def layer(shape):
    x = np.random.default_rng(5).normal(size=shape) @ np.diag(np.linspace(0.1, 4, shape[1])) + 1
    return x, np.maximum(x, 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_r2_is_scikit_learns(shape):
    x, y = layer(shape)
    expected = LinearRegression().fit(x, y).score(x, y)
    assert STATISTICS["r2"](x, y) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_cka_is_the_ratio_of_centred_gram_matrices(shape):
    x, y = layer(shape)
    n = len(x)
    centring = np.eye(n) - 1 / n
    k, m = (centring @ z @ z.T @ centring for z in (x, y))
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert STATISTICS["cka"](x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_shrinkage_is_scikit_learns(shape):
    x, _ = layer(shape)
    share, target = ledoit_wolf(centre(x))
    reference = LedoitWolf().fit(x)
    ours = (1 - share) * np.cov(x.T, bias=True) + share * target * np.eye(shape[1])
    np.testing.assert_allclose(ours, reference.covariance_, atol=1e-12)


def test_histograms_are_numpys_also_on_the_edges_of_bins():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(50, 96)), rng.integers(0, 7, (50, 96)) / 10, np.ones((2, 96))])
    np.testing.assert_array_equal(histograms(rows), [np.histogram(row, 96)[0] for row in rows])


def test_entropy_of_a_uniform_histogram_is_twice_log_d():
    rows = np.tile(np.arange(8.0), (4, 1))
    assert STATISTICS["entropy_pre"](rows, rows * 0) == pytest.approx(2 * np.log(8))
    assert STATISTICS["entropy_post"](rows, rows * 0) == pytest.approx(np.log(8))


def test_norm_is_frobenius():
    assert STATISTICS["norm"](np.array([[3.0], [0.0]]), np.array([[0.0], [4.0]])) == 5
