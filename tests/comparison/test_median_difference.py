"""The difference of two medians and its standard error."""

import math

import numpy as np
import pytest

from hf_affscore.comparison import median_difference
from tests.signatures import make_signature

EFFECTS = np.random.default_rng(0).integers(-1000, 1000, (2, 64))


def network(score, effects, fingerprint, **columns):
    signature = make_signature(
        [score], affinity_score_stderr=[0.01], affinity_score_effects=[tuple(effects)], **columns
    )
    signature.metadata["dataset"]["fingerprint"] = fingerprint
    return signature


def test_errors_that_both_medians_share_cancel_on_the_same_images():
    one = network(0.5, EFFECTS[0], "a")
    change, stderr = median_difference(one, network(0.7, EFFECTS[0], "a"))
    assert change == pytest.approx(0.2)
    assert stderr == pytest.approx(1e-5)  # float32 rounding is left
    centred = EFFECTS - EFFECTS.mean(axis=1, keepdims=True)
    centred = 0.01 * centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected = np.linalg.norm(centred[1] - centred[0])
    _, stderr = median_difference(one, network(0.7, EFFECTS[1], "a"))
    assert stderr == pytest.approx(expected, rel=0.1)  # of 1000 draws


def test_errors_add_up_on_other_images():
    _, stderr = median_difference(network(0.5, EFFECTS[0], "a"), network(0.7, EFFECTS[0], "b"))
    assert stderr == pytest.approx(0.01 * math.sqrt(2), rel=0.1)  # of 1000 draws


@pytest.mark.filterwarnings("error")
def test_without_evidence_there_is_no_difference():
    found = median_difference(
        network(0.5, EFFECTS[0], "a"), network(0.5, EFFECTS[0], "a", evidence=["few_samples"])
    )
    assert all(map(math.isnan, found))
