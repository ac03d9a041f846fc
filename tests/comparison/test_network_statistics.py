import math

import numpy as np
import pytest
from scipy.stats import gaussian_kde, pearsonr

from hf_affscore.comparison.statistics import GRID, companions, correlations, density, modes
from tests.signatures import make_signature


def test_density_equals_scipys_gaussian_kde():
    scores = np.random.default_rng(0).beta(2, 5, size=50)
    np.testing.assert_allclose(density(scores), gaussian_kde(scores)(GRID), atol=1e-12)


@pytest.mark.parametrize("scores", [[0.4], [1.0, 1.0, 1.0], [0.0] * 5])
def test_scores_that_are_all_alike_have_one_mode(scores):
    assert modes(np.array(scores)) == [scores[0]]
    assert np.trapezoid(density(np.array(scores)), GRID) == pytest.approx(1, abs=1e-6)


def test_residual_blocks_show_as_two_modes():
    random = np.random.default_rng(0)
    inner, outer = random.normal(0.53, 0.04, 9), random.normal(0.9, 0.03, 9)
    low, high = modes(np.concatenate([inner, outer]))
    assert low == pytest.approx(0.53, abs=0.04)
    assert high == pytest.approx(0.9, abs=0.04)
    assert len(modes(random.normal(0.6, 0.05, 200))) == 1


def test_correlations_equal_scipys_over_the_rows_that_have_both():
    random = np.random.default_rng(0)
    scores, cka, norm = random.uniform(size=(3, 20))
    scores[3], cka[5] = math.nan, math.nan
    reason = [None if math.isfinite(score) else "constant output" for score in scores]
    found = correlations(
        make_signature(
            scores,
            cka=cka.tolist(),
            norm=norm.tolist(),
            affinity_score_shrunk=scores,
            identity_coupling_score=scores,
            sparsity_pre_error=scores,
            reason=reason,
        )
    )
    both = np.isfinite(scores) & np.isfinite(cka)
    assert found.keys() == {"cka", "norm"}
    assert found["cka"] == pytest.approx(pearsonr(scores[both], cka[both]).statistic, abs=1e-12)
    rest = np.isfinite(scores)
    assert found["norm"] == pytest.approx(pearsonr(scores[rest], norm[rest]).statistic, abs=1e-12)


def test_exact_correlations():
    scores = np.linspace(0.1, 0.9, 9)
    found = correlations(make_signature(scores, up=(2 * scores).tolist(), down=(-scores).tolist()))
    assert found == {"up": pytest.approx(1), "down": pytest.approx(-1)}


def test_a_correlation_that_does_not_exist_is_nan():
    constant = make_signature([0.1, 0.5, 0.9], cka=[0.5, 0.5, 0.5])
    two = make_signature([0.1, 0.9], cka=[0.5, 0.6])
    assert math.isnan(correlations(constant)["cka"])
    assert math.isnan(correlations(two)["cka"])


def test_a_companion_that_is_undefined_in_some_rows_counts():
    assert companions(make_signature([0.1, 0.2], cka=[None, 0.5], reason=["why", None])) == ["cka"]
    assert companions(make_signature([])) == []
