"""A whole analysis on an accelerator, and on two, gives the signature of the CPU."""

from __future__ import annotations

from collections import Counter
from unittest.mock import Mock

import accelerate
import numpy as np
import pytest
import torch
from torch import nn

import hf_affscore as ha
from hf_affscore.capture.sites import CallSite
from hf_affscore.comparison.agreement import differences
from hf_affscore.options import Options
from hf_affscore.run import collect, columns, fit
from hf_affscore.run.accelerators import usable
from hf_affscore.run.means import over_groups
from hf_affscore.score import score_layer
from hf_affscore.score import together as module
from hf_affscore.score.together import together
from tests.accelerator import KIND, accelerator
from tests.score.test_tensors import assert_same

OPTIONS = {"num_samples": 40, "batch_size": 8, "shuffle": False, "cache": False, "progress": False}


class OverDevices(nn.Module):
    """Two halves, the second on a device of its own if ``spread``."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(
            nn.Conv2d(8, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(864, 20), nn.Tanh()
        )

    def forward(self, x):
        x = self.first(x)
        return self.second(x.to(self.second[0].weight.device))


def images():
    return list(torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("second", [0, 1])
@pytest.mark.parametrize("pooling", ["paper", "positions"])
def test_the_signature_is_that_of_the_cpu(pooling, second):
    here = ha.analyze(OverDevices(), images(), pooling=pooling, **OPTIONS)
    with accelerator() as noted:
        model = OverDevices()
        model.first.to(f"{KIND}:0")
        model.second.to(f"{KIND}:{second}")
        there = ha.analyze(model, images(), pooling=pooling, **OPTIONS)
        passes = len(images()) // OPTIONS["batch_size"] + 2  # and two of a few images
        assert [stream.synchronised for stream in noted.streams.values()] == [passes] * (second + 1)
        assert noted.waits == []
    assert len(here.rows) == 3
    assert [dict(row) for row in there.rows] == [dict(row) for row in here.rows]


def spread(first=0, second=1):
    model = OverDevices()
    model.first.to(f"{KIND}:{first}")
    model.second.to(f"{KIND}:{second}")
    return model


class Blocks(nn.Module):
    """Four blocks of one class."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 8, 8, 8)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(d, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            for d in widths
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("level", ["activations", "blocks"])
def test_a_model_that_accelerate_has_spread(level):
    """The second half is on another device, to which the hooks of accelerate bring what the first has made."""
    here = ha.analyze(Blocks(), images(), level=level, **OPTIONS)
    with accelerator() as noted:
        places = {f"layers.{number}": f"{KIND}:{number // 2}" for number in range(4)}
        model = accelerate.dispatch_model(Blocks().eval(), places, main_device=f"{KIND}:0", force_hooks=True)
        there = ha.analyze(model, images(), level=level, **OPTIONS)
        assert noted.waits == []
    assert len(here.rows) == 4
    assert [dict(row) for row in there.rows] == [dict(row) for row in here.rows]


def solved_on(noted):
    """The devices that have decomposed a matrix, as every score of two features or more does."""
    decompositions = {"_linalg_svd", "_linalg_eigh", "linalg_cholesky_ex"}
    return sorted(device for device, names in noted.operations.items() if decompositions & set(names))


@pytest.mark.parametrize(
    ("limit", "expected"), [(0.0, []), (1e-6, []), (1.0, [f"{KIND}:0", f"{KIND}:1"])], ids=str
)
def test_layers_are_scored_on_the_accelerators_as_far_as_their_memory_may_be_used(limit, expected):
    here = ha.analyze(OverDevices(), images(), **OPTIONS)
    with accelerator() as noted:
        there = ha.analyze(spread(), images(), device_memory_limit=limit, **OPTIONS)
        assert solved_on(noted) == expected
    for one, other in zip(here.rows, there.rows, strict=True):
        place = {"scored_on": other["scored_on"]} if limit else {}
        assert_same(dict(other), {**one, **place})
        assert place.get("scored_on", "cpu") in (expected or ["cpu"])
    assert there.metadata["options"].get("device_memory_limit", 0.0) == limit
    assert differences([here, there], ["here", "there"]) == ()


@pytest.mark.parametrize("limit", [0.0, 4.0])
def test_memory_of_an_accelerator_that_is_not_there_is_said(limit, capsys):
    ha.analyze(Blocks(), images(), device_memory_limit=limit, **{**OPTIONS, "progress": True})
    line = "device_memory_limit is 4.0, but the model lies on no accelerator with float64: the CPU scores its"
    assert capsys.readouterr().err.count(line) == bool(limit)


def test_layers_of_one_width_are_scored_together(monkeypatch):
    """Four of them take as many decompositions as one."""
    options, counts, found = {**OPTIONS, "device_memory_limit": 1.0}, [], []
    for most in (4, 1):
        monkeypatch.setattr(columns, "TOGETHER", most)
        with accelerator() as noted:
            found.append(ha.analyze(Blocks().to(f"{KIND}:0"), images(), **options))
            counts.append(noted.operations[f"{KIND}:0"].count("_linalg_eigh"))
    assert 4 * counts[0] == counts[1] > 0
    for one, other in zip(*(signature.rows for signature in found), strict=True):
        assert_same(dict(one), dict(other))


@pytest.mark.parametrize(("room", "expected"), [(1e12, [4]), (3e5, [1, 1, 1, 1])], ids=["enough", "little"])
def test_no_more_layers_are_scored_together_than_main_memory_holds(monkeypatch, room, expected):
    sizes = []

    def noted(tasks):
        sizes.append(len(tasks))
        return together(tasks)

    monkeypatch.setattr(module, "together", noted)
    monkeypatch.setattr(fit, "available_bytes", lambda: int(room))
    monkeypatch.setattr(collect, "check_fits", lambda *_: None)
    with accelerator():
        ha.analyze(Blocks().to(f"{KIND}:0"), images(), **{**OPTIONS, "device_memory_limit": 1.0})
    assert sizes == expected


def test_every_accelerator_has_some_of_many_layers():
    layers = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()) for _ in range(2 * columns.TOGETHER)]
    with accelerator():
        model = nn.Sequential(*layers).to(f"{KIND}:0")
        model.register_buffer("elsewhere", torch.zeros(1).to(f"{KIND}:1"))
        rows = ha.analyze(model, images(), **{**OPTIONS, "device_memory_limit": 1.0}).rows
    assert Counter(row["scored_on"] for row in rows) == {f"{KIND}:{i}": columns.TOGETHER for i in range(2)}


def test_rows_are_scored_again_on_the_cpu(tmp_path):
    with accelerator():
        ha.analyze(spread(), images(), keep_rows=tmp_path / "rows", device_memory_limit=1.0, **OPTIONS)
    again, here = ha.load_rows(tmp_path / "rows").rescore(), ha.analyze(OverDevices(), images(), **OPTIONS)
    assert [dict(row) for row in again.rows] == [dict(row) for row in here.rows]
    assert again.metadata["options"] == here.metadata["options"]


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_layer_that_an_accelerator_cannot_score_is_scored_on_the_cpu(failure, monkeypatch):
    def score(pre, *others, **options):
        if not isinstance(pre, np.ndarray):
            raise failure
        return score_layer(pre, *others, **options)

    here = ha.analyze(OverDevices(), images(), **OPTIONS)
    monkeypatch.setattr(columns, "score_layer", score)
    with accelerator():
        there = ha.analyze(spread(), images(), device_memory_limit=1.0, **OPTIONS)
    assert [dict(row) for row in there.rows] == [{**row, "scored_on": "cpu"} for row in here.rows]


def test_a_row_of_several_groups_names_every_device():
    options = {**OPTIONS, "num_samples": "all", "group_size": 20}
    with accelerator():
        there = ha.analyze(spread(), images(), device_memory_limit=1.0, **options)
    assert {row["scored_on"] for row in there.rows} <= {f"{KIND}:0", f"{KIND}:1"}
    records = [{**there.rows[0], "effects": (), "scored_on": place} for place in ("cuda:0", "cpu", "cuda:0")]
    ((_, mean),) = over_groups([[(CallSite("relu", "ReLU", 0, "module"), record)] for record in records])
    assert mean["scored_on"] == "cpu, cuda:0"


def test_an_accelerator_without_float64_is_not_scored_on(monkeypatch):
    with accelerator():
        model = spread(0, 0)
        chosen = Options(device_memory_limit=1.0)
        assert usable(model, chosen) == [torch.device(KIND, 0)]
        assert usable(model, Options()) == usable(nn.Linear(2, 2), chosen) == []
        assert usable(model, Options(device_memory_limit=1.0, level="blocks")) == []
        refused = TypeError("Cannot convert a MPS Tensor to float64 dtype")
        monkeypatch.setattr(torch, "ones", Mock(side_effect=refused))
        assert usable(model, chosen) == []
