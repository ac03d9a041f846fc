"""The standard error against the spread of simulated scores, the interval, and when there is none."""

import math

import numpy as np
import pytest

from hf_affscore.errors import InputError
from hf_affscore.score import affinity_score, score_layer


def record(n, d, function=np.tanh, seed=0, **options):
    x = np.random.default_rng([seed, n, d]).normal(size=(n, d))
    return score_layer(x, function(x), **{"shrinkage": False, "regularization": 1e-6, **options})


@pytest.mark.parametrize(
    ("n", "d", "function"), [(400, 1, np.tanh), (400, 1, np.square), (200, 4, np.tanh), (256, 16, np.tanh)]
)
def test_standard_error_is_the_spread_of_the_score(n, d, function):
    records = [record(n, d, function, seed=seed) for seed in range(80)]
    spread = np.std([r["affinity_score"] for r in records])
    errors = np.mean([r["affinity_score_stderr"] for r in records])
    # The spread of 80 scores is itself known to 8 %; three times that.
    assert errors == pytest.approx(spread, rel=0.25)


def test_interval_covers_the_limit():
    """The full table, 200 trials each, is in benchmarks/uncertainty.md; here enough to see a wrong one."""
    points = (np.arange(200_000) + 0.5) / 200_000
    from scipy.special import ndtri

    normal = ndtri(points)
    y = np.tanh(normal)
    limit = 1 - math.sqrt(((normal * y.std() - y) ** 2).mean() / (2 * y.var()))
    inside = []
    for seed in range(80):
        r = record(256, 4, seed=seed)
        inside.append(r["affinity_score_low"] <= limit <= r["affinity_score_high"])
    assert np.mean(inside) >= 0.87


def test_too_few_samples_for_the_width_carry_a_flag_and_no_interval():
    few = record(200, 40)
    assert few["interval_reason"] == "200 samples for 40 features; 320 are needed"
    assert few["affinity_score_stderr"] > 0
    assert math.isnan(few["affinity_score_low"])
    assert math.isnan(record(100, 40)["affinity_score_stderr"])


def test_a_coupling_that_more_samples_would_improve_carries_a_flag_and_no_interval():
    folded = record(400, 8, function=np.abs)
    assert folded["interval_reason"].startswith("with more samples the score may rise up to")
    assert math.isnan(folded["affinity_score_high"])


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
