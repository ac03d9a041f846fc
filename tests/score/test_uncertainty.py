"""The standard error against the spread of simulated scores, both intervals, and the word for evidence."""

import math
import re

import numpy as np
import pytest
from scipy.special import ndtri

from hf_affscore.errors import InputError
from hf_affscore.score import affinity_score, score_layer
from hf_affscore.score.affinity import solve
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.uncertainty import _left_out, _samples, uncertainty


def mixed(n, d, seed, function):
    """Rows whose features depend on each other, as those of a network do."""
    mixing = np.random.default_rng(d).normal(size=(d, d)) / math.sqrt(d) + np.eye(d)
    x = np.random.default_rng([seed, n, d]).normal(size=(n, d)) @ mixing
    return x, function(x)


def relu(x):
    return np.maximum(x, 0)


def record_of(x, y, **options):
    return score_layer(x, y, **{"shrinkage": False, "regularization": 1e-6, **options})


def record(n, d, function=np.tanh, seed=0, **options):
    return record_of(*mixed(n, d, seed, function), **options)


def known(x, y):
    """Score and uncertainty, without what else belongs to a record."""
    solution = solve(Layer(Sample(x), Sample(y)), shrinkage=False, regularization=1e-6)
    return solution.score, uncertainty(solution)


@pytest.mark.parametrize(
    ("n", "d", "function"),
    [
        (400, 1, np.tanh),
        (400, 1, np.square),
        (200, 4, np.tanh),
        (256, 16, relu),
        (128, 64, relu),
        (96, 128, relu),
        (64, 192, np.tanh),  # in the coordinates of the samples
    ],
)
def test_the_interval_covers_the_expected_score_at_this_number_of_samples(n, d, function):
    """The full tables, on real layers too, are in benchmarks/uncertainty.md."""
    found = [known(*mixed(n, d, seed, function)) for seed in range(100)]
    scores = np.array([score for score, _ in found])
    errors = np.mean([trust.standard_error for _, trust in found])
    # The spread of 100 scores is itself known to 7 %; leaving samples out overstates it, by up to two fifths with
    # fewer features than samples, and twofold with as many independent normal ones (1.0 on real layers).
    assert 0.8 < errors / scores.std(ddof=1) < (1.4 if d < 0.9 * n else 2.2)
    covered = np.mean([trust.low <= scores.mean() <= trust.high for _, trust in found])
    assert covered >= 0.88  # three standard deviations of a hundred trials below 95 %


def one_by_one(x, y, regularization):
    """What each sample adds to the score, by scores without it."""
    layers = [Layer(Sample(x), Sample(y))]
    layers += [Layer(*(Sample(np.delete(rows, i, axis=0)) for rows in (x, y))) for i in range(len(x))]
    scores = [solve(layer, shrinkage=False, regularization=regularization).score for layer in layers]
    return (len(x) - 1) * (scores[0] - np.array(scores[1:]))


def test_effects_are_what_leaving_a_sample_out_does():
    n, d = 120, 60
    x, y = mixed(n, d, 0, relu)
    effects, each = np.array(known(x, y)[1].effects), one_by_one(x, y, 1e-6)
    each -= each.mean()
    left_out = np.array([each[group::64].sum() for group in range(64)])
    # At half as many features as samples; without the pull on the map these are 0.937 and 0.868.
    assert np.corrcoef(effects, left_out)[0, 1] > 0.97
    assert effects.std() == pytest.approx(left_out.std(), rel=0.08)


@pytest.mark.parametrize(
    ("d", "regularization"),
    [
        (40, 0.0),
        (59, 0.0),
        *((d, ridge) for d in (40, 59, 60, 62, 100, 300) for ridge in (1e-6, "relative", 0.1)),
    ],
)
def test_the_map_without_a_sample_is_known_in_closed_form(d, regularization):
    """With as many features as samples it moves the sample far; first order is up to a third short."""
    n = 60
    x, y = mixed(n, d, 1, relu)
    solution = solve(Layer(Sample(x), Sample(y)), shrinkage=False, regularization=regularization)
    samples = _samples(solution, range(n))
    effects, _ = _left_out(solution, range(n), *samples.exactly(range(n)))
    really = one_by_one(x, y, regularization)
    assert np.corrcoef(effects, really)[0, 1] > 0.99
    assert effects.std() == pytest.approx(really.std(), rel=0.03)


@pytest.mark.parametrize(("n", "d"), [(70, 40), (60, 80), (46, 140)])
@pytest.mark.parametrize("share", [0.1, 1e-3, 1e-5])
def test_nearly_affine_layers_are_known_as_well(share, n, d):
    """There the map without a sample changes little, as a sum of large terms that cancel."""
    x = np.random.default_rng(0).normal(size=(n, d))
    y = 2 * x + share * relu(x)
    found, each = record_of(x, y)["affinity_score_stderr"], one_by_one(x, y, 1e-6)
    assert found == pytest.approx(each.std(ddof=1) / math.sqrt(n), rel=0.2)


def test_large_inputs_of_low_rank_are_known_as_well():
    """Directions without variance but for rounding and the ridge, a billionth of that of the others."""
    rng, unit = np.random.default_rng(1), 1e6
    x = (unit / 2 * rng.normal(size=(90, 4)) @ rng.normal(size=(4, 60))).astype(np.float32)
    y = unit * np.tanh(x / unit)
    effects = one_by_one(x, y, 1e-6)
    assert record_of(x, y)["affinity_score_stderr"] == pytest.approx(effects.std(ddof=1) / 90**0.5, rel=0.06)


@pytest.mark.parametrize(("n", "d"), [(256, 4), (256, 32), (128, 64), (100, 95), (100, 150)])
@pytest.mark.parametrize("function", [relu, np.tanh])
def test_the_bounds_hold_the_limit(n, d, function):
    normal = ndtri((np.arange(200_000) + 0.5) / 200_000)
    y = function(normal)
    limit = 1 - math.sqrt(((normal * y.std() + y.mean() - y) ** 2).mean() / (2 * y.var()))
    inside = []
    for seed in range(60):
        x = np.random.default_rng([seed, n, d]).normal(size=(n, d))
        _, trust = known(x, function(x))
        inside.append(trust.limit_low <= limit <= trust.limit_high)
    assert np.mean(inside) >= 0.9


def test_bounds_and_interval_are_in_order():
    for d in (1, 3, 40, 300):
        found = record(100, d, relu)
        names = ("limit_low", "affinity_score_low", "affinity_score", "affinity_score_high", "limit_high")
        ends = [found[name] for name in names]
        assert ends[0] <= ends[2] <= ends[4]
        assert ends[1] < ends[2] < ends[3] <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_unit_does_not_matter(scale):
    x, y = mixed(150, 30, 0, relu)
    plain, scaled = (
        score_layer(factor * x, factor * y, shrinkage=False, regularization="relative")
        for factor in (1, scale)
    )
    for name in ("affinity_score_stderr", "affinity_score_low", "limit_low", "limit_high"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-4)  # partly in float32


def test_an_affine_layer_has_no_error():
    x, _ = mixed(100, 5, 0, relu)
    found = score_layer(x, 2 * x + 1, shrinkage=False, regularization="relative")
    assert (found["affinity_score_stderr"], found["evidence"]) == (0, "ok")
    assert found["affinity_score_low"] == found["affinity_score_high"] == found["affinity_score"]


@pytest.mark.parametrize(
    ("scale", "n", "word", "reason"),
    [
        (1, 100, "ok", "None"),
        (1, 20, "few_samples", "20 samples for 20 features; more than 20 are needed"),
        (1, 21, "ok", "None"),
        (2e-3, 100, "ridge_dominates", r"the ridge is \d+ % of the variance of the output"),
        (1e-6, 100, "constant_output", "constant output"),
        (math.nan, 100, "undefined", "post has .* NaN .*"),
    ],
)
def test_evidence_and_its_reason(scale, n, word, reason):
    x = np.random.default_rng(0).normal(size=(n, 20))
    found = score_layer(x, scale * relu(x), shrinkage=True, regularization=1e-6)
    assert found["evidence"] == word
    assert re.fullmatch(reason, str(found["reason"]))


def test_a_constant_input_leaves_the_ridge_alone():
    varying = np.random.default_rng(0).normal(size=(100, 3))
    found = score_layer(np.ones((100, 3)), varying, shrinkage=False, regularization=1e-6)
    assert (found["evidence"], found["reason"]) == ("ridge_dominates", "constant input")
    assert found["ridge_share_pre"] == 1


def test_the_ridge_share_is_that_of_the_total_variance():
    x, y = mixed(50, 4, 0, relu)
    found = score_layer(x, y, shrinkage=False, regularization=0.01)
    for side, rows in (("pre", x), ("post", y)):
        total = np.trace(np.cov(rows.T)) + 4 * 0.01
        assert found[f"ridge_share_{side}"] == pytest.approx(4 * 0.01 / total, rel=1e-12)
    relative = score_layer(x, y, shrinkage=False, regularization="relative")
    assert relative["ridge_share_pre"] == pytest.approx(1e-6, rel=1e-5)


def test_groups_are_consecutive_and_disjoint():
    x = np.random.default_rng(0).normal(size=(90, 3))
    y = np.maximum(x, 0)
    grouped = score_layer(x, y, shrinkage=False, regularization=1e-6, num_groups=3)
    scores = [affinity_score(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    assert grouped["affinity_score_group_mean"] == pytest.approx(np.mean(scores), abs=1e-14)
    assert grouped["affinity_score_group_std"] == pytest.approx(np.std(scores, ddof=1), abs=1e-14)
    assert grouped["affinity_score"] == affinity_score(x, y)


@pytest.mark.parametrize("num_groups", [0, -1, 46])
def test_groups_need_two_rows_each(num_groups):
    with pytest.raises(InputError, match="expected 1 to 45"):
        record(90, 3, num_groups=num_groups)


def test_the_order_of_the_rows_does_not_change_the_standard_error():
    """A few samples carry much of the spread in narrow layers: the error must not depend on which are looked at."""
    rng = np.random.default_rng(3)
    pre = rng.standard_t(3, size=(1024, 4))
    order = rng.permutation(1024)
    first, second = (known(rows, relu(rows))[1].standard_error for rows in (pre, pre[order]))
    assert second == pytest.approx(first, rel=1e-5)  # the derivative is computed in float32
