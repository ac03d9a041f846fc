"""The examples about training, at a size that is quick, and what must come out of them."""

import json

import torch

from examples import command, regularise, track_training


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
