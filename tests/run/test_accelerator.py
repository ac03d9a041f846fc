"""A whole analysis on an accelerator, and on two, gives the signature of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hf_affscore as ha
from tests.accelerator import KIND, accelerator

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
