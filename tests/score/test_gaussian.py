"""The affine map against closed forms, 50-digit arithmetic, POT and the sample-space form."""

from dataclasses import replace

import mpmath
import numpy as np
import ot
import pytest
import torch

from hf_affscore.score import affinity, affinity_score, gaussian
from hf_affscore.score.affinity import rounding, solve
from hf_affscore.score.gaussian import Gaussian
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.transport import optimal_coupling


def fit(rows, **options):
    return Gaussian.fit(Sample(rows), **{"shrinkage": False, "regularization": 1e-6, **options})


def orthogonal(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def exact_identity_score(x, y, ridge):
    """The identity coupling's score with the map in 50-digit arithmetic."""
    with mpmath.workdps(50):
        n, d = x.shape
        x, y = (mpmath.matrix(rows.tolist()) for rows in (x, y))
        for rows in (x, y):
            for j in range(d):
                mean = mpmath.fsum(rows[i, j] for i in range(n)) / n
                for i in range(n):
                    rows[i, j] -= mean

        def power(matrix, exponent):
            values, vectors = mpmath.eigsy(matrix)
            return vectors * mpmath.diag([abs(value) ** exponent for value in values]) * vectors.T

        half = mpmath.mpf(1) / 2
        ridge = mpmath.mpf(ridge) * mpmath.eye(d)
        cov_x, cov_y = x.T * x / (n - 1) + ridge, y.T * y / (n - 1) + ridge
        root = power(cov_y, half)
        residual = x * (root * power(root * cov_x * root, -half) * root) - y
        trace = mpmath.fsum(cov_y[i, i] for i in range(d))
        return float(1 - mpmath.sqrt(mpmath.fsum(v * v for v in residual) / n / (2 * trace)))


@pytest.mark.parametrize("condition", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("output", ["relu", "white"])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_ill_conditioned_maps_to_eleven_digits(condition, output, scale):
    rng = np.random.default_rng(3)
    n, d = 30, 5
    white = rng.normal(size=(n, d))
    x = white * np.logspace(0, -np.log10(condition) / 2, d) @ orthogonal(rng, d) * scale
    y = np.maximum(x, 0) if output == "relu" else np.tanh(white) @ orthogonal(rng, d)
    ridge = 0.0 if scale < 1 else 1e-6
    expected = exact_identity_score(x, y, ridge)
    assert affinity(x, y, regularization=ridge).identity_coupling_score == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(("n", "d"), [(6, 9), (5, 13), (2, 3), (2, 1), (9, 1)])
def test_few_samples_in_many_features(n, d):
    x = np.random.default_rng(n).normal(size=(n, d))
    y = np.maximum(x, 0.1 * x) ** 2
    expected = exact_identity_score(x, y, 1e-6)
    assert affinity(x, y).identity_coupling_score == pytest.approx(expected, abs=1e-11)


def test_constant_dependent_and_duplicated_rows_and_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 5))
    x[:, 1], x[:, 3] = 0.7, x[:, 0]
    x[6:] = x[:6]
    y = np.maximum(x, 0)
    expected = exact_identity_score(x, y, 1e-6)
    assert affinity(x, y).identity_coupling_score == pytest.approx(expected, abs=1e-11)


def test_both_roads_to_the_map_agree():
    x = np.random.default_rng(0).normal(size=(400, 150))
    pre, post = fit(x), fit(np.maximum(x, 0))
    from_covariances = next(pre.affine_maps_to(post))
    np.testing.assert_allclose(from_covariances.matrix, pre._map_from_roots(post).matrix, atol=1e-11)


def ill_conditioned(scale, decades, n=600, d=150):
    """Rows of less than full rank whose covariance loses most digits of its small eigenvalues."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, d // 2)) * np.logspace(0, -decades, d // 2)
    rows = (factors @ rng.normal(size=(d // 2, d))).astype(np.float32) * np.float32(scale)
    return fit(rows), fit(np.maximum(rows, 0))


def identity_score(pre, post, matrix):
    distances = ((pre.sample.centred @ matrix - post.sample.centred) ** 2).sum(axis=1)
    return 1 - np.sqrt(distances.mean() / (2 * post.total_variance))


@pytest.mark.parametrize("decades", [0, 2, 6])
def test_refinement_gives_a_map_from_covariances_its_digits_back(decades):
    pre, post = ill_conditioned(1.0, decades)
    coarse, *_, refined = pre.affine_maps_to(post)
    assert refined.inner is not None
    from_rows = identity_score(pre, post, pre._map_from_roots(post).matrix)
    assert identity_score(pre, post, refined.matrix) == pytest.approx(from_rows, abs=1e-12)
    assert np.abs(coarse.matrix - refined.matrix).max() > 1e-12
    np.testing.assert_array_equal(pre.affine_map_to(post).matrix, refined.matrix)


@pytest.mark.parametrize("n", [600, 250])
@pytest.mark.parametrize(("scale", "decades"), [(1.0, 2), (1.0, 6), (10.0, 0), (10.0, 2)])
def test_the_estimate_of_rounding_is_near_the_error_that_it_causes(n, scale, decades):
    """Neither much too low, so that scores keep their digits, nor so high that each map is refined."""
    pre, post = ill_conditioned(scale, decades, n=n)
    solution = solve(Layer(pre.sample, post.sample), shrinkage=False, regularization=1e-6)
    first = next(pre.affine_maps_to(post))
    mapped = pre.sample.centred @ first.matrix
    coupling = optimal_coupling(mapped, post.sample.centred)
    error = abs(
        identity_score(pre, post, first.matrix) - identity_score(pre, post, pre._map_from_roots(post).matrix)
    )
    estimate = rounding(replace(solution, transport=first, mapped=mapped, coupling=coupling), pre)
    assert error / 4 < estimate < 100 * max(error, 1e-13)


def test_directions_mixed_by_rounding_are_solved_for_again():
    """The inputs vary by their ridge alone in half of all directions; the score was wrong by 8e-7 there."""
    pre, post = ill_conditioned(100.0, 0)
    first = next(pre.affine_maps_to(post))
    assert first.improvable
    expected = identity_score(pre, post, pre._map_from_roots(post).matrix)
    assert identity_score(pre, post, first.matrix) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("decades", [2, 6])
def test_maps_from_covariances_are_as_exact_as_those_from_rows(scale, decades, monkeypatch):
    monkeypatch.setattr(gaussian, "NARROW", 0)
    pre, post = ill_conditioned(scale, decades, n=60, d=20)
    x, y = (side.sample.rows.astype(np.float64) for side in (pre, post))
    expected = exact_identity_score(x, y, 1e-6)
    errors = [abs(identity_score(pre, post, found.matrix) - expected) for found in pre.affine_maps_to(post)]
    from_rows = abs(identity_score(pre, post, pre._map_from_roots(post).matrix) - expected)
    # From the pencil, if its small eigenvalues have any digits; solved for again; refined.
    assert len(errors) == (3 if (scale, decades) == (1.0, 2) else 2)
    assert errors[-1] < max(10 * from_rows, 1e-12)


def test_covariances_are_not_used_where_they_are_not_positive():
    rows = np.random.default_rng(0).normal(size=(100, 150))
    rows[:, 0] = 0
    pre, post = (fit(side, regularization=0.0) for side in (rows, np.maximum(rows, 0)))
    (found,) = pre.affine_maps_to(post)
    assert not found.improvable
    np.testing.assert_array_equal(found.matrix, pre._map_from_roots(post).matrix)


@pytest.mark.parametrize("function", ["identity", "positive affine", "nearly identity", "relu"])
@pytest.mark.parametrize("decades", [2, 4, 6])
def test_scores_keep_their_digits_where_covariances_do_not(function, decades):
    # Where nothing is left of W2, an error of 1e-15 in its square is one of 3e-8 in the score.
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(600, 150)) * np.logspace(0, -decades, 150)) @ orthogonal(rng, 150)
    y = {
        "identity": x,
        "positive affine": 2 * x + 1,
        "nearly identity": np.where(x > 0, x, 0.999 * x),
        "relu": np.maximum(x, 0),
    }[function]
    pre, post = fit(x), fit(y)
    expected = identity_score(pre, post, pre._map_from_roots(post).matrix)
    assert affinity(x, y).identity_coupling_score == pytest.approx(expected, abs=1e-10)


def test_map_transports_one_covariance_onto_the_other():
    x = np.random.default_rng(1).normal(size=(60, 7))
    pre, post = fit(x), fit(x**3 + 1)
    matrix = pre.affine_map_to(post).matrix
    np.testing.assert_allclose(matrix @ pre.covariance @ matrix, post.covariance, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_map_is_pots():
    x = np.random.default_rng(1).normal(size=(80, 6))
    y = np.tanh(x) + 2
    matrix, _ = ot.gaussian.empirical_bures_wasserstein_mapping(x, y, reg=1e-6)
    # POT divides by n where we divide by n - 1, and adds its ridge after that: a ridge smaller by 1 / n.
    ridge = 1e-6 * 80 / 79
    np.testing.assert_allclose(
        fit(x, regularization=ridge).affine_map_to(fit(y, regularization=ridge)).matrix, matrix, atol=1e-9
    )


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 30), (10, 45)])
def test_map_without_ridge_is_the_polar_factor_in_sample_space(n, d):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, d))
    y = np.maximum(x, 0)
    xc, yc = x - x.mean(0), y - y.mean(0)
    u, _, vt = np.linalg.svd(xc @ yc.T)
    rank = min(n - 1, d)
    polar = u[:, :rank] @ vt[:rank]
    solution = solve(Layer(Sample(x), Sample(y)), shrinkage=False, regularization=0.0)
    # Coordinates may differ for wide layers; products of rows do not.
    np.testing.assert_allclose(solution.mapped @ solution.target.T, polar @ yc @ yc.T, atol=1e-8)


@pytest.mark.parametrize("longer", ["one side", "one row"])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_long_rows_do_not_hide_short_ones(scale, longer):
    rows = np.random.default_rng(0).normal(size=(60, 200))
    x, y = rows.copy(), 1 + 1e-3 * np.tanh(rows)
    if longer == "one side":
        x *= scale
    else:
        x[0] *= scale
    pre, post = (fit(side, regularization="relative") for side in (x, y))
    expected = identity_score(pre, post, pre._map_from_roots(post).matrix)
    found = affinity(x, y, regularization="relative").identity_coupling_score
    assert found == pytest.approx(expected, abs=2e-9)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_coordinates_of_the_span_change_neither_map_nor_distance(kind):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(12, 40))
    pre, post = fit(x), fit(np.maximum(x, 0))
    small = Layer(*(Sample(kind(rows)) for rows in (x, np.maximum(x, 0)))).in_span
    small_pre, small_post = (
        replace(side, sample=Sample(np.asarray(rows.rows)))
        for side, rows in zip((pre, post), (small.pre, small.post), strict=True)
    )
    assert small_pre.sample.shape == (12, 22)  # centred rows span one direction less each
    mapped = pre.sample.centred @ pre.affine_map_to(post).matrix
    small = small_pre.sample.centred @ small_pre.affine_map_to(small_post).matrix
    np.testing.assert_allclose(small @ small.T, mapped @ mapped.T, atol=1e-10)
    np.testing.assert_allclose(
        small @ small_post.sample.centred.T, mapped @ post.sample.centred.T, atol=1e-10
    )


@pytest.mark.parametrize("shape", [(60, 5), (300, 140), (10, 40), (30, 40)])
@pytest.mark.parametrize("shrinkage", [False, True])
def test_the_road_of_an_accelerator_on_cpu_tensors(shape, shrinkage):
    x = np.random.default_rng(0).normal(size=shape)
    y = np.maximum(x, 0)
    rows = Layer(Sample(x), Sample(y)), Layer(Sample(torch.from_numpy(x)), Sample(torch.from_numpy(y)))
    here, there = (solve(layer, shrinkage=shrinkage, regularization=1e-6) for layer in rows)
    assert isinstance(there.target, torch.Tensor)
    assert there.score == pytest.approx(here.score, abs=1e-11)


def test_relative_ridge_makes_units_irrelevant_and_the_papers_does_not():
    x = np.random.default_rng(0).normal(size=(200, 6)) @ np.diag([1, 1e-3, 1, 1, 1e-4, 1])
    y = np.maximum(x, 0)
    scores = [affinity_score(x * c, y * c, regularization="relative") for c in (1e-6, 1e-3, 1, 1e3, 1e6)]
    np.testing.assert_allclose(scores, scores[2], atol=1e-12)
    assert abs(affinity_score(x * 1e-2, y * 1e-2) - affinity_score(x, y)) > 1e-3
