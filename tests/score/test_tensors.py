"""The road of an accelerator, on tensors in main memory: the records of numpy's road, whatever torch is set to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hf_affscore import affinity_score
from hf_affscore.score import arrays, score_layer
from hf_affscore.score.affinity import solve
from hf_affscore.score.distances import Distances
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.statistics import STATISTICS

#: What is computed in float32 on either road, and so to a few digits only.
SHORT = ("affinity_score_stderr", "affinity_score_low", "affinity_score_high", "limit_low", "limit_high")


def relu(x):
    return np.maximum(x, 0)


def saturated(x):
    return 1 / (1 + np.exp(-np.clip(40 * x, -50, 50)))


#: Name -> samples, features, activation.
LAYERS = {
    "one feature": (200, 1, relu),
    "narrow": (300, 3, relu),
    "square": (150, 40, np.tanh),
    "from roots": (200, 150, relu),
    "wide": (500, 300, relu),
    "solver": (256, 8, saturated),
    "solver, wide": (300, 256, np.square),
    "d > n": (100, 150, relu),
    "d > 2 n": (60, 200, relu),
    "constant output": (64, 6, np.zeros_like),
    "large": (100, 5, lambda x: 1e20 * relu(x)),
}


def layer(name, dtype=np.float32):
    n, d, activation = LAYERS[name]
    rng = np.random.default_rng([n, d])
    rank = 8 if name == "solver, wide" else d
    x = (rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)) / rank**0.5).astype(dtype)
    return x, activation(x).astype(dtype)


def record(pre, post, **options):
    options = {"shrinkage": True, "regularization": 1e-6, "num_groups": 2} | options
    return score_layer(pre, post, **options)


@pytest.fixture
def tensors_stay(monkeypatch):
    """Tensors in main memory take the road of an accelerator."""
    monkeypatch.setattr(arrays, "OF_NUMPY", ())


def assert_same(there, here):
    """Every column, to 1e-9, and to four digits where it is float32's."""
    assert there.keys() == here.keys()
    for name, value in here.items():
        if name == "effects":
            largest = max(map(abs, value), default=0)
            assert there[name] == pytest.approx(value, rel=0, abs=1e-5 * largest), name
        elif isinstance(value, float):
            digits = {"rel": 1e-4, "abs": 5e-5 * ("stderr" not in name)} if name in SHORT else {"abs": 1e-9}
            assert there[name] == pytest.approx(value, nan_ok=True, **digits), name
        else:
            assert there[name] == value, name


@pytest.mark.parametrize("regularization", [1e-6, "relative"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_column_is_that_of_numpy(name, regularization, tensors_stay):
    x, y = layer(name)
    here = record(x, y, regularization=regularization)
    there = record(torch.from_numpy(x), torch.from_numpy(y), regularization=regularization)
    assert_same(there, here)
    assert math.isnan(here["affinity_score_stderr"]) == (
        name == "constant output"
    )  # so that more is compared


def test_the_layers_take_the_roads_that_they_are_named_for(tensors_stay):
    for name in ("narrow", "wide", "solver", "solver, wide"):
        rows = Layer(*(Sample(torch.from_numpy(side).double()) for side in layer(name)))
        solution = solve(rows, shrinkage=False, regularization=1e-6)
        assert isinstance(solution.mapped, torch.Tensor)
        assert (solution.coupling.duals is not None) == (name != "wide"), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_in_any_precision(dtype, tensors_stay):
    x = torch.from_numpy(layer("square")[0]).to(dtype)
    y = x.clamp(min=0)
    assert_same(record(x, y), record(x.double().numpy(), y.double().numpy()))


def test_input_and_output_of_other_widths(tensors_stay):
    x, y = layer("narrow")
    there = record(torch.from_numpy(x), torch.from_numpy(y[:, :2]), num_groups=1)
    here = record(x, y[:, :2], num_groups=1)
    assert "3 features become 2" in here["reason"]
    assert {name: there[name] for name in STATISTICS} == pytest.approx(
        {name: here[name] for name in STATISTICS}, nan_ok=True
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_default_types_and_devices_change_nothing_and_stay(dtype, tensors_stay):
    """New tensors on the default device, which has no values here, would be an error."""
    x, y = map(torch.from_numpy, layer("solver"))
    usual = record(x, y)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device("meta"):
            assert record(x, y) == usual
            new = torch.empty(0)
        assert (new.dtype, new.device.type) == (dtype, "meta")
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", ["solver", "wide"])
def test_neither_autocast_nor_gradients_reach_a_score(name, tensors_stay):
    x, y = map(torch.from_numpy, layer(name))
    usual = record(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert record(x.clone().requires_grad_(), y) == usual
        assert torch.is_autocast_enabled("cpu")


def test_float32_is_float32_while_a_layer_is_scored(tensors_stay, monkeypatch):
    """The error bound of distances in float32 does not hold for TF32 or bfloat16."""
    seen = set()
    product = Distances.__getitem__

    def watched(self, rows):
        seen.add((torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()))
        return product(self, rows)

    monkeypatch.setattr(Distances, "__getitem__", watched)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        affinity_score(*map(torch.from_numpy, layer("wide")))
        assert seen == {(False, "highest")}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
