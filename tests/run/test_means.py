"""Scores over groups of images, and how the errors of one network's scores go together."""

import math

import numpy as np
import pytest

from hf_affscore.capture.sites import CallSite
from hf_affscore.run.means import correlated, over_groups


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


def test_correlation_with_the_error_of_the_mean_of_what_is_evidence():
    effects = np.random.default_rng(0).normal(size=(3, 50))
    scores = [(site(name), columns(effects=one)) for name, one in zip("abc", effects, strict=True)]
    scores[2][1]["evidence"] = "few_samples"
    found = [one["affinity_score_error_correlation"] for _, one in correlated(scores)]
    mean = effects[:2].mean(axis=0)
    assert found == pytest.approx([np.corrcoef(one, mean)[0, 1] for one in effects])
    assert all("effects" not in one for _, one in correlated(scores))


def test_there_is_no_correlation_where_nothing_varies_or_nothing_is_evidence():
    flat, missing = columns(effects=[1.0, 1.0]), columns(effects=[], evidence="undefined")
    found = correlated([(site("a"), flat), (site("b"), missing), (site("c"), {"skipped": "why"})])
    assert math.isnan(found[0][1]["affinity_score_error_correlation"])
    assert math.isnan(found[1][1]["affinity_score_error_correlation"])
    assert found[2][1] == {"skipped": "why"}
