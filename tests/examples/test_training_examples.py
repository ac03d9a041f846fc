"""The examples about training and simplifying, at a size that is quick, and what must come out of them."""

import json

import numpy as np
import pytest
import torch

from examples import command, linearise, regularise, track_training


def test_tracking_follows_a_network_that_learns(tmp_path):
    history, accuracies = track_training.train(tmp_path, blocks=1, epochs=3, num_samples=64)
    values = track_training.values(history, accuracies)
    assert values["steps"] == [0, 21, 42, 63]  # 1,285 digits in batches of 64
    assert accuracies[-1] > 0.5
    assert len(values["scores"]) == 7
    for module, scores in values["scores"].items():
        assert scores == [
            signature.scores[list(values["scores"]).index(module)] for signature in history.values()
        ]
        assert len(set(scores)) == 4


def test_regularisation_moves_the_scores_the_way_it_is_asked_to():
    values = regularise.run(strengths=(-3.0, 0.0, 3.0), seeds=(0,), epochs=20)
    less, plain, more = (records[0] for records in values.values())
    for name in ("first_score", "second_score"):
        assert less[name] + 0.05 < plain[name] < more[name] - 0.05
    assert plain["accuracy"] > 0.85


def test_affine_maps_are_fitted_exactly_where_there_is_one():
    torch.manual_seed(0)
    pre, slope, mixing = torch.randn(4, 3, 5, 5), torch.tensor([2.0, -1.0, 0.5]), torch.randn(3, 3)
    by_channel, by_matrix = linearise.Moments(), linearise.Moments()
    for half in pre.split(2):
        by_channel.add(half, half * slope[:, None, None] + 1)
        by_matrix.add(half, torch.einsum("nchw,cd->ndhw", half, mixing) - 1)
    found = [*by_channel.fit(matrix=False), *by_matrix.fit(matrix=True)]
    expected = [slope, torch.ones(3), mixing, -torch.ones(3)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_linearising_a_real_network(tmp_path):
    values = linearise.run(tmp_path, count=24, thresholds=(1.0, 0.97, 0.96), repeats=0)
    none, one, five = values["measured"]
    assert [record["replaced"] for record in (none, one, five)] == [0, 1, 5]
    assert {none[kind]["agreement"] for kind in linearise.KINDS} == {1.0}
    agreements = [record["channel"]["agreement"] for record in (none, one, five)]
    assert agreements == pytest.approx([1, 20 / 24, 11 / 24], abs=2 / 24)  # float32 differs between machines
    assert five["channel"]["agreement"] > five["least linear"]["agreement"]


def test_a_command_leaves_values_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["example", "--output", str(tmp_path / "new")])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # for the tests that come after
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: None)
    found = command.perform(
        "An example.",
        folder="elsewhere",
        picture="one.txt",
        run=lambda output: {"folder": output.name},
        draw=lambda values, path: path.write_text(values["folder"]),
    )
    assert found == {"folder": "new"} == json.loads((tmp_path / "new" / "values.json").read_text())
    assert (tmp_path / "new" / "one.txt").read_text() == "new"
