"""Couplings of very many samples: over pairs that are chosen by price, exact or with a bound."""

import importlib.metadata

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from hf_affscore import affinity_score
from hf_affscore.extras import couples_chosen_pairs
from hf_affscore.score import priced, score_layer, transport
from hf_affscore.score.distances import squared_lengths
from hf_affscore.score.priced import PARTS, PricedCoupling, priced_coupling
from hf_affscore.score.transport import optimal_coupling

N = 400


def rows(kind: str, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """What the map made of some rows, and what the activation did: both centred."""
    random = np.random.default_rng(len(kind))
    before = random.normal(size=(n, 6)) @ random.normal(size=(6, 24))
    if kind == "saturated":
        after = np.clip(before, 0, 1)
    elif kind == "few values":
        after = (before > 0) * 1.0
    elif kind == "copies":
        before[n // 2 :] = before[: n - n // 2]
        after = np.abs(before)
    elif kind == "remote":
        before[:3] *= 50
        after = np.abs(before)
    elif kind == "permuted":
        after = random.permutation(before)
    elif kind == "wide":
        before = random.normal(size=(n, 3)) @ random.normal(size=(3, 300))
        after = np.sin(3 * before)
    else:
        after = random.normal(size=before.shape)
    return before - before.mean(axis=0), after - after.mean(axis=0)


KINDS = ["saturated", "few values", "copies", "remote", "permuted", "wide", "unrelated"]


def coupled(source, target, duals=None) -> PricedCoupling:
    return priced_coupling(source, target, (squared_lengths(source), squared_lengths(target)), duals)


def least(source, target) -> float:
    distances = cdist(source, target, "sqeuclidean")
    return distances[linear_sum_assignment(distances)].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_coupling_is_optimal_and_proved_to_be(kind):
    source, target = rows(kind)
    found = coupled(source, target)
    assert sorted(found.assignment) == list(range(N))
    assert found.cost == pytest.approx(least(source, target), rel=1e-10)
    assert found.lower_bound == pytest.approx(found.cost, rel=1e-10)
    assert found.lower_bound <= found.cost
    assert found.lower_bound >= 0
    assert (found.sources + found.targets).mean() == pytest.approx(found.cost, rel=1e-8, abs=1e-10)
    prices = cdist(source, target, "sqeuclidean") - found.sources[:, None] - found.targets
    assert prices.min() > -1e-8 * (found.cost + 1)  # duals of all pairs, not of the candidates alone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_coupling_that_is_not_optimal_comes_with_a_bound(kind, rounds, monkeypatch):
    monkeypatch.setattr(priced, "ROUNDS", rounds)
    monkeypatch.setattr(priced, "START", 20)
    source, target = rows(kind)
    found, exact = coupled(source, target), least(source, target)
    assert found.lower_bound <= exact * (1 + 1e-12)
    assert found.cost >= exact * (1 - 1e-12)
    own = ((source - target[found.assignment]) ** 2).sum(axis=1).mean()
    assert found.cost == pytest.approx(own, rel=1e-12)


def test_the_budget_ends_the_search_where_the_bounds_are_near(monkeypatch):
    monkeypatch.setattr(priced, "PRODUCTS", 0)
    monkeypatch.setattr(priced, "ENOUGH", 0.01)
    monkeypatch.setattr(priced, "START", 20)
    source, target = rows("saturated")
    found = coupled(source, target)
    assert 0 < found.cost - found.lower_bound <= 0.01 * found.cost


def test_duals_in_the_middle_end_the_search_soon(monkeypatch):
    """4 looks at all pairs with these rows; with the duals at which the network simplex ends there were 20."""
    looks = []
    look = priced._nearest
    monkeypatch.setattr(priced, "_nearest", lambda *given: looks.append(1) or look(*given))
    source, target = rows("few values")
    coupled(source, target)
    assert len(looks) <= 8


def test_bad_duals_cost_time_but_not_exactness():
    source, target = rows("saturated")
    noise = np.random.default_rng(1).normal(size=N)
    assert coupled(source, target, noise).cost == pytest.approx(least(source, target), rel=1e-10)


def test_rows_that_are_torchs_give_the_same():
    source, target = rows("saturated")
    there = coupled(torch.from_numpy(source), torch.from_numpy(target))
    here = coupled(source, target)
    assert (there.assignment == here.assignment).all()
    assert there.lower_bound == pytest.approx(here.lower_bound, rel=1e-12)


def test_a_solver_that_fails_leaves_the_coupling_of_before_and_its_bound(monkeypatch):
    monkeypatch.setattr(priced, "MOST_PIVOTS", 1)
    source, target = rows("saturated")
    with pytest.warns(UserWarning, match="numItermax"):
        found = coupled(source, target)
    assert found.cost == pytest.approx(((source - target) ** 2).sum(axis=1).mean(), rel=1e-12)
    assert found.lower_bound <= least(source, target)


def test_fewer_samples_than_parts_are_never_asked_for():
    assert transport.DENSE >= PARTS


@pytest.fixture
def many(monkeypatch):
    """What is done with more than 8,192 samples, with 400."""
    monkeypatch.setattr(transport, "DENSE", 100)


def test_scores_of_many_samples_are_those_of_all_pairs(many, monkeypatch):
    source, target = rows("saturated")
    by_price = optimal_coupling(source * 1e-9, target * 1e-9)
    score = affinity_score(source, target)
    monkeypatch.setattr(transport, "DENSE", N)
    dense = optimal_coupling(source * 1e-9, target * 1e-9)
    assert by_price.cost == pytest.approx(dense.cost, rel=1e-12)
    assert by_price.lower_bound == by_price.cost
    assert dense.lower_bound == dense.cost
    assert score == pytest.approx(affinity_score(source, target), abs=1e-12)


@pytest.mark.parametrize(
    ("version", "suffices"),
    [
        ("0.9.6.post1", False),
        ("0.9.7", True),
        ("0.9.7.post1", True),
        ("0.10", True),
        ("1.0rc1", True),
        (None, False),
    ],
)
def test_an_older_pot_is_as_none(version, suffices, monkeypatch):
    def installed(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    assert couples_chosen_pairs.__wrapped__() is suffices


def test_without_the_extra_all_pairs_are_kept(many, monkeypatch):
    monkeypatch.setattr(transport, "couples_chosen_pairs", lambda: False)
    monkeypatch.setattr(transport, "priced_coupling", None)
    source, target = rows("saturated")
    assert optimal_coupling(source, target).cost == pytest.approx(least(source, target), rel=1e-12)


def test_the_record_says_how_far_the_coupling_may_be_from_an_optimal_one(many, monkeypatch):
    source, target = rows("saturated")
    options = {"shrinkage": True, "regularization": 1e-6}
    exact = score_layer(source, target, **options)
    assert exact["affinity_score_bound"] == exact["affinity_score"]
    assert exact["reason"] is None
    monkeypatch.setattr(priced, "ROUNDS", 1)
    monkeypatch.setattr(priced, "START", 20)
    short = score_layer(source, target, **options)
    assert short["affinity_score"] <= exact["affinity_score"] < short["affinity_score_bound"]
    assert short["evidence"] == "ok"
    assert short["reason"] == (
        f"the coupling of {N} samples is not proved optimal: "
        f"the score is at most {short['affinity_score_bound']:.6f}"
    )
    assert short["affinity_score_low"] <= exact["affinity_score_low"]
    assert short["affinity_score_high"] > exact["affinity_score_high"]
