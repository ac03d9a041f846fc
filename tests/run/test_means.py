"""Scores over groups of images, and the effects that rows keep."""

import math

import numpy as np
import pytest

from hf_affscore.capture.sites import CallSite
from hf_affscore.run.means import over_groups, with_stored_effects
from hf_affscore.summary import EFFECTS


def site(name):
    return CallSite(module=name, activation="ReLU", call=0, kind="module")


def columns(score=0.5, effects=(0.0, 1.0), evidence="ok", reason=None, **more):
    low, high = score - 0.1, score + 0.1
    return {
        "dim": 4,
        "num_samples": 10,
        "affinity_score": score,
        "affinity_score_stderr": 0.02,
        "affinity_score_low": low,
        "affinity_score_high": high,
        "effects": list(effects),
        "evidence": evidence,
        "reason": reason,
        **more,
    }


def test_errors_of_a_mean_over_groups_are_less_by_the_root_of_their_number():
    groups = [[(site("a"), columns(score))] for score in (0.4, 0.5, 0.6, 0.7)]
    ((_, mean),) = over_groups(groups)
    assert (mean["affinity_score"], mean["num_samples"]) == (pytest.approx(0.55), 40)
    assert mean["affinity_score_stderr"] == pytest.approx(0.01)
    assert (mean["affinity_score_low"], mean["affinity_score_high"]) == pytest.approx((0.5, 0.6))
    assert mean["effects"] == [0.0, 1.0]


def test_the_group_that_is_least_fit_as_evidence_has_the_word():
    dead, undefined = columns(1.0, evidence="constant_output", reason="constant output"), columns(math.nan)
    undefined |= {"evidence": "undefined", "reason": "NaN", "effects": []}
    for found, word in (([columns(), dead], "constant_output"), ([dead, undefined, columns()], "undefined")):
        ((_, mean),) = over_groups([[(site("a"), one)] for one in found])
        assert mean["evidence"] == word
        assert mean["reason"] is not None


def test_effects_are_stored_in_thousandths_of_their_spread():
    effects = np.random.default_rng(0).normal(size=64)
    scores = [
        (site("a"), columns(effects=effects)),
        (site("b"), columns(effects=[])),
        (site("c"), {"skipped": "why"}),
    ]
    (_, found), (_, without), (_, skipped) = with_stored_effects(scores)
    assert list(found) == [EFFECTS if name == "effects" else name for name in columns()]
    assert np.std(found[EFFECTS], ddof=1) == pytest.approx(1000, rel=1e-3)
    assert np.corrcoef(found[EFFECTS], effects)[0, 1] > 1 - 1e-6
    assert without[EFFECTS] is None
    assert skipped == {"skipped": "why"}
