"""Experiments on functions and random networks: against the paper's figures, closed forms and symmetries."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.paper import activation_functions, input_range, polynomials, redshift
from examples.paper.common import perform
from hf_affscore.capture.activations import MODULES

PUBLISHED = json.loads((Path(__file__).parent / "paper_figures.json").read_text())


def quick(experiment, folder):
    """The values at the reduced size, from the file that was written."""
    perform(experiment, folder, quick=True)
    name = experiment.__name__.rpartition(".")[2]
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / f"{name}.json").read_text())["values"]


def test_polynomials(tmp_path):
    published = PUBLISHED["polynomials"]
    scores = quick(polynomials, tmp_path)["scores"]
    assert list(scores) == [str(order) for order in published["orders"]]
    assert list(scores.values()) == pytest.approx(published["measured"], abs=1e-3)
    assert list(polynomials.PAPER.values()) == published["printed"]


def test_activation_functions(tmp_path):
    published, sweep = PUBLISHED["activations"], PUBLISHED["relu_sweep"]
    values = quick(activation_functions, tmp_path)
    assert list(values["scores"]) == published["names"]
    assert list(values["scores"].values()) == pytest.approx(published["measured"], abs=1e-3)
    assert [values["relu_sweep"][i] for i in sweep["index"]] == pytest.approx(sweep["measured"], abs=1e-3)
    assert list(activation_functions.PAPER.values()) == published["printed"]
    assert dict(zip(sweep["index"], sweep["printed"], strict=True)) == activation_functions.PAPER_SWEEP


@pytest.fixture(scope="module")
def ranges(tmp_path_factory):
    return quick(input_range, tmp_path_factory.mktemp("input_range"))


def test_every_activation_of_the_table_is_there_once(ranges):
    found = [each for name, of in ranges["scores"].items() for each in (name, *of["same_function"])]
    assert sorted(found) == sorted({name for names in MODULES["activation"].values() for name in names})


def test_increasing_functions_score_as_in_closed_form(ranges):
    """Of an increasing function of one feature, both sides are sorted already: 1 - sqrt(1 - correlation)."""
    checked = set()
    for names, activation in input_range.distinct():
        scores = ranges["scores"][names[0]]["relative"]
        for centre, score in zip(ranges["centres"], scores, strict=True):
            x = torch.linspace(centre - 2, centre + 2, ranges["num_samples"], dtype=torch.float64)
            with torch.inference_mode():
                y = activation(x)
            if (y.diff() >= 0).all() and y.std() > 0.01:
                correlation = np.corrcoef(x, y)[0, 1]
                assert score == pytest.approx(1 - np.sqrt(max(0, 1 - correlation)), abs=2e-3), (names, centre)
                checked.add(names[0])
    assert len(checked) > 20


def test_mirrored_functions_have_mirrored_scores(ranges):
    scores = {name: np.array(of["relative"]) for name, of in ranges["scores"].items()}
    assert scores["Tanh"] == pytest.approx(scores["Tanh"][::-1], abs=1e-5)
    assert scores["Softplus"] == pytest.approx(scores["LogSigmoid"][::-1], abs=1e-5)
    assert scores["Tanh"] != pytest.approx(scores["Softplus"], abs=0.1)


def test_scale_matters_to_tanh_and_not_to_relu(tmp_path):
    values = quick(redshift, tmp_path)
    means = {
        (kind["activation"], kind["scale"]): (np.mean(kind["mean_score"]), np.mean(kind["roughness"]))
        for kind in values["networks"]
    }
    (relu, relu_rough), (relu_wide, relu_wide_rough) = means["ReLU", 1], means["ReLU", 6]
    (tanh, tanh_rough), (tanh_wide, tanh_wide_rough) = means["tanh", 1], means["tanh", 6]
    assert abs(relu - relu_wide) < 0.05 < 0.15 < tanh - tanh_wide
    assert tanh_wide_rough > 1.5 * tanh_rough
    assert relu_wide_rough == pytest.approx(relu_rough, rel=0.3)


def test_random_networks_differ_by_seed_and_by_scale_alone():
    narrow, wide = redshift.perceptron("tanh", 1, 3), redshift.perceptron("tanh", 6, 3)
    for one, six in zip(narrow.parameters(), wide.parameters(), strict=True):
        assert torch.equal(6 * one, six)
    other = redshift.perceptron("tanh", 1, 4)
    assert not torch.equal(narrow[1].weight, other[1].weight)


def test_same_values_every_time():
    assert redshift.run(seeds=(1,)) == redshift.run(seeds=(1,))
