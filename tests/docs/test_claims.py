"""What README and pages say about results, measured."""

from __future__ import annotations

import time

import numpy as np
import pytest

import hf_affscore as ha
from examples import relu
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.comparison.difference import difference
from hf_affscore.errors import InputError
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def trained():
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512, cache=False)


def test_training_changed_what_the_readme_says(trained):
    untrained = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512, random_weights=True)
    found = difference(untrained, trained)
    after_addition = [row for row in found.changes if row.index and ".layer." not in row.module]
    assert len(after_addition) == 9
    assert all(row.change > 0 for row in after_addition)
    lower = [row for row in found.significant if row.change < 0]
    assert len(lower) == 4
    assert all(".layer." in row.module for row in lower)


def test_training_spread_the_scores_as_the_quick_start_says(trained):
    untrained = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512, random_weights=True)
    ends = [round(each.summary()[name], 2) for each in (untrained, trained) for name in ("min", "max")]
    assert ends == [0.68, 0.87, 0.65, 0.96]
    ha.compare([trained, untrained])  # random weights are no difference that is refused
    with pytest.raises(InputError, match="made differently"):
        ha.compare([trained, ha.analyze(DEMO_MODEL, "noise", num_samples=16)])


def test_a_constant_input_scores_as_the_page_about_scores_says():
    random = np.random.default_rng(0).normal(size=(500, 4))
    constant = np.zeros((500, 4))
    assert round(ha.affinity_score(constant, random), 2) == 0.29
    assert ha.affinity_score(random, constant) == 1


def test_rounding_changed_what_the_readme_says(trained):
    rounded = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512, dtype="bfloat16")
    found = difference(trained, rounded)
    assert len(found.significant) == 2
    assert max(abs(row.change) for row in found.changes) < 0.001


def test_the_second_relu_of_each_block_is_nearer_to_affine(trained):
    scores = {row.module: row.affinity_score for row in trained.rows}
    firsts = [name for name in scores if ".layer.0." in name]
    assert len(firsts) == 9
    assert all(scores[name.replace(".layer.0", "")] > scores[name] for name in firsts)


def test_the_same_again_comes_from_the_cache_with_the_same_bits(trained, monkeypatch):
    """README, quick start and questions: no image is run again, and no weight is read."""
    first = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)

    def fails(*arguments, **keywords):
        raise AssertionError("the analysis was made again")

    monkeypatch.setattr("hf_affscore.run.runner.load_checkpoint", fails)
    start = time.perf_counter()
    again = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)
    assert time.perf_counter() - start < 5
    assert again == first
    with pytest.raises(AssertionError, match="made again"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, cache=False)


def test_the_picture_of_a_relu_shows_the_score(tmp_path):
    scores = relu.draw(tmp_path / "relu.png")
    rank = np.random.default_rng(0).normal(0, 1, 2000)
    output = np.maximum(rank, 0)
    by_hand = 1 - relu.distance(relu.affine_map(rank, output), output) / np.sqrt(2 * output.var(ddof=1))
    assert scores[0.0] == pytest.approx(by_hand, abs=1e-5)  # the ridge of 1e-6
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert (ROOT / relu.PICTURE).is_file()
