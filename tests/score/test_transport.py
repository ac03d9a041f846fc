"""The exact assignment against scipy on the plain distances, POT, and brute force."""

import itertools
import tracemalloc

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment

from hf_affscore.score import certificate, transport
from hf_affscore.score.distances import error_bound, rough_distances
from hf_affscore.score.transport import coupling_cost, optimal_coupling


def clouds(kind, n, d, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(n, d))
    return source, {
        "unrelated": lambda: rng.normal(size=(n, d)),
        "near": lambda: source + 0.05 * rng.normal(size=(n, d)),
        "saturated": lambda: np.clip(source, 0.5, 0.6) * 3,
        "duplicates": lambda: source[rng.integers(0, min(5, n), n)],
        "far from zero": lambda: source + 1e4 + 0.3 * rng.normal(size=(n, d)),
        "equal": lambda: source.copy(),
        "one point": lambda: np.zeros((n, d)),
    }[kind]()


KINDS = ["unrelated", "near", "saturated", "duplicates", "far from zero", "equal", "one point"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(2, 2), (60, 1), (300, 3), (200, 40), (100, 300)])
def test_cost_is_scipys_and_pots(kind, n, d):
    source, target = clouds(kind, n, d)
    coupling = optimal_coupling(source, target)
    assert sorted(coupling.assignment) == list(range(n))
    distances = ((source[:, None] - target) ** 2).sum(axis=2)
    rows, columns = linear_sum_assignment(distances)
    cost = coupling_cost(source, target[coupling.assignment])
    assert cost == pytest.approx(distances[rows, columns].mean(), rel=1e-11, abs=1e-14)
    weights = np.full(n, 1 / n)
    assert cost == pytest.approx(ot.emd2(weights, weights, distances), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_cost_is_the_least_over_all_permutations(d):
    source, target = clouds("unrelated", 6, d)
    least = min(coupling_cost(source, target[list(p)]) for p in itertools.permutations(range(6)))
    coupling = optimal_coupling(source, target)
    assert coupling_cost(source, target[coupling.assignment]) == pytest.approx(least, rel=1e-14)


@pytest.mark.parametrize("kind", ["near", "saturated", "unrelated"])
def test_identity_is_certified_only_where_it_is_optimal(kind):
    # The saturated cloud has so many equal targets that the search for duals stops early, which is allowed.
    source, target = clouds(kind, 200, 5)
    own = ((source - target) ** 2).sum(axis=1)
    rough = ((source[:, None] - target) ** 2).sum(axis=2).astype(np.float32)
    assignment = linear_sum_assignment(rough)[1]
    optimal = coupling_cost(source, target[assignment]) >= own.mean() * (1 - 1e-9)
    lengths = (source**2).sum(axis=1), (target**2).sum(axis=1)
    violating, _ = certificate.violating_pairs(rough, error_bound(5, lengths), own, source, target)
    certified = violating == 0
    assert optimal or not certified
    assert certified == (kind == "near")


@pytest.mark.parametrize("d", [16, 300])
def test_a_proof_of_the_identity_keeps_no_distances_of_all_pairs(d):
    n = 4000
    source, target = clouds("near", n, d)
    tracemalloc.start()
    try:
        coupling = optimal_coupling(source, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert coupling.duals is None  # the solver was not needed
    assert peak < n * n + 32 * n * d


def test_a_search_that_finds_too_many_pairs_ends_early():
    n = 3000
    source, target = clouds("unrelated", n, 4)
    own = ((source - target) ** 2).sum(axis=1)
    lengths = (source**2).sum(axis=1), (target**2).sum(axis=1)
    rough = rough_distances(source, target, lengths, "float32")
    tracemalloc.start()
    try:
        violating, _ = certificate.violating_pairs(rough, error_bound(4, lengths), own, source, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert violating > certificate.PAIRS * n
    assert peak < n * n


@pytest.mark.parametrize("seed", range(10))
def test_a_swap_too_small_for_float32_is_seen(seed):
    source, target = clouds("near", 100, 8, seed)
    # Two nearly equal rows whose targets are exchanged, far from zero: a gain of 8e-5 among expanded squares
    # of some 7,000, which float32 knows to 1e-3.
    step = 1e-2 * np.eye(8)[0]
    source[1], target[1] = source[0] + step, target[0] - 2e-1 * step
    source, target = source + 30, target + 30
    gain = coupling_cost(source[:2], target[:2]) - coupling_cost(source[[1, 0]], target[:2])
    assert 0 < gain < 1e-4
    assert list(optimal_coupling(source, target).assignment[:2]) == [1, 0]


@pytest.mark.parametrize("seed", [153, 192, 419, 603])
def test_a_cycle_is_followed_beyond_its_first_violating_pair(seed):
    source, target = np.random.default_rng(seed).normal(size=(2, 3, 2))
    distances = ((source[:, None] - target) ** 2).sum(axis=2)
    own = np.diag(distances)
    assert (distances < (own[:, None] + own) / 2).sum() == 1  # at the first duals a single pair would change
    assert (linear_sum_assignment(distances)[1] != np.arange(3)).all()
    violating, _ = certificate.violating_pairs(distances, 1e-6, own, source, target)
    assert violating > 0


def test_bad_duals_cost_time_but_not_exactness(monkeypatch):
    source, target = clouds("saturated", 150, 4)
    expected = coupling_cost(source, target[optimal_coupling(source, target).assignment])
    noise = np.random.default_rng(1).normal(size=150)
    assignment = optimal_coupling(source, target, noise).assignment  # refined, then taken
    assert coupling_cost(source, target[assignment]) == pytest.approx(expected, rel=1e-13)
    monkeypatch.setattr(transport, "approximate_duals", lambda rough, start: noise)
    assignment = optimal_coupling(source, target).assignment
    assert coupling_cost(source, target[assignment]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kind", ["near", "unrelated"])
@pytest.mark.parametrize("d", [1, 6])
def test_shares_add_up_to_the_cost(kind, d):
    source, target = clouds(kind, 300, d)
    coupling = optimal_coupling(source, target)
    cost = coupling_cost(source, target[coupling.assignment])
    assert coupling.shares.mean() == pytest.approx(cost, rel=1e-12 if d == 1 or kind == "near" else 0.1)


@pytest.mark.parametrize("exponent", [-240, -80, 70, 110, 220])
def test_a_power_of_two_changes_no_bit_of_coupling_or_shares(exponent):
    source, target = np.random.default_rng(0).normal(size=(2, 100, 3))
    plain, scaled = (
        optimal_coupling(source, target),
        optimal_coupling(source * 2.0**exponent, target * 2.0**exponent),
    )
    np.testing.assert_array_equal(scaled.assignment, plain.assignment)
    np.testing.assert_array_equal(scaled.shares, plain.shares * 4.0**exponent)


@pytest.mark.parametrize("kind", ["saturated", "unrelated"])
@pytest.mark.parametrize("d", [4, 300])
@pytest.mark.parametrize("exponent", [0, 90])
def test_prices_of_a_similar_pair_change_no_partner(kind, d, exponent):
    source, target = (rows * 2.0**exponent for rows in clouds(kind, 200, d))
    first = optimal_coupling(source, target)
    assert first.duals is not None
    source = source * 1.01
    again, cold = optimal_coupling(source, target, first.duals), optimal_coupling(source, target)
    np.testing.assert_array_equal(again.assignment, cold.assignment)
