"""How near the approximate duals are to the optimum, and that they are numbers whatever the distances."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hf_affscore.score.sinkhorn import approximate_duals


def saturated(n=600, d=8, seed=0):
    """Distances between a saturated layer of few features and a noisy guess at it, a tenth of the rows far out."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * (1 + 5 * (rng.random(n) < 0.1))[:, None]
    source, target = 0.2 * x + 0.3 * rng.normal(size=(n, d)), x.clip(0, 0.5)
    return ((source[:, None] - target) ** 2).sum(axis=2)


def gap(distances, duals):
    """How far the bound that the duals give lies below the optimum, in units of the identity coupling's cost."""
    bound = (distances - duals).min(axis=1).mean() + duals.mean()
    optimum = distances[linear_sum_assignment(distances)].mean()
    return (optimum - bound) / distances.trace() * len(distances)


def test_duals_are_near_the_optimal_ones():
    distances = saturated()
    duals = approximate_duals(distances.astype(np.float32))
    assert duals.dtype == np.float64
    assert (
        0 <= gap(distances, duals) < 2e-4
    )  # 2.4e-4 without over-relaxation, 1e-2 without the fine smoothings
    again = approximate_duals(1.1 * distances.astype(np.float32), start=duals)
    assert 0 <= gap(1.1 * distances, again) < 2e-4


@pytest.mark.parametrize("distances", [np.zeros((9, 9)), np.full((9, 9), 1e-30), 1 - np.eye(9), np.eye(2)])
def test_duals_are_finite_for_any_distances(distances):
    assert np.isfinite(approximate_duals(distances.astype(np.float32))).all()


def test_a_target_near_no_row_has_a_dual():
    distances = saturated(100)
    distances[:, 7] += 1e6
    assert np.isfinite(approximate_duals(distances.astype(np.float32))).all()
