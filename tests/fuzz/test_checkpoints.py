"""Checkpoints whose configuration, processor or weights are odd or damaged: they load, or say why not."""

import json
import shutil
import warnings

import numpy as np
import pytest

from hf_affscore.assets import DEMO_MODEL
from hf_affscore.errors import AffscoreError
from hf_affscore.models.loading import load_checkpoint, locate_model
from hf_affscore.options import Options
from tests.fuzz.harness import CASES, ROUNDS, damage, read_or_refused

#: Values that stand where others belong. None is a large number: a network that large would be built.
ODD_VALUES = (None, "", "x", [], {}, -1, 0, 2, 0.5, True, [1, 2], ["x"], {"x": 1}, float("nan"))


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(DEMO_MODEL, tmp_path / "checkpoint")


def load(folder):
    options = Options(device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_checkpoint(locate_model(folder, options), None, options)
        return found.input_shape()


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_odd_values_in_a_configuration(name, round_, checkpoint):
    settings = json.loads((checkpoint / name).read_text())
    for case in range(CASES):
        random = np.random.default_rng([round_, case])
        odd = dict(settings)
        for _ in range(int(random.integers(1, 3))):
            odd[sorted(settings)[int(random.integers(len(settings)))]] = ODD_VALUES[
                random.integers(len(ODD_VALUES))
            ]
        (checkpoint / name).write_text(json.dumps(odd))
        read_or_refused(lambda: load(checkpoint), AffscoreError)


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "model.safetensors", "README.md"]
)
def test_a_damaged_file_of_a_checkpoint(name, round_, checkpoint):
    whole = (checkpoint / name).read_bytes()
    for damaged in damage(whole, round_, CASES // 2):
        if sum(map(bytes.isdigit, map(bytes, zip(damaged)))) > sum(
            map(bytes.isdigit, map(bytes, zip(whole)))
        ):
            continue  # a number may have grown, and with it the network
        (checkpoint / name).write_bytes(damaged)
        read_or_refused(lambda: load(checkpoint), AffscoreError)
