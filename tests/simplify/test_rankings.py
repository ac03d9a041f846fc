"""The benchmark of rankings: its areas and its curves, where they are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import simplifying


def test_the_area_is_the_mean_of_the_curve_over_log_k():
    record = {"curves": {"flat": [1.0, 0.5, 0.5, 0.5], "falling": [1.0, 0.9, 0.5, 0.1]}}
    assert simplifying.area(record, "flat") == 0.5
    assert simplifying.area(record, "falling") == pytest.approx(0.5)
    assert simplifying.interval([1.0, 2.0, 3.0]) == (2.0, pytest.approx(4.302653 / np.sqrt(3)))


def test_what_is_affine_goes_first_and_nothing_is_left_changed():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.LeakyReLU(0.999), nn.Conv2d(6, 6, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    ).eval()  # fmt: skip
    images = torch.rand(64, 3, 1, 1) + 0.3 * torch.randn(64, 3, 6, 6)
    few = simplifying.part(images[:32], 16)
    seen = []

    def measure(network):
        seen.append([type(network[1]).__name__, type(network[3]).__name__])
        return 1 - 0.25 * seen[-1].count("ChannelMap")

    found = simplifying.measured(simplifying.Case(model, images, few, measure), seed=0)
    assert found["ks"] == [0, 1, 2]
    for name in ("trial", "affinity score", "R2 held-out", "R2 of the map", "few zeros"):
        assert found["orders"][name] == [["1", "3"]], name
        assert found["curves"][name] == [1, 0.75, 0.5]
    assert found["orders"]["last first"] == [["3", "1"]]
    assert ["ChannelMap", "ReLU"] in seen
    assert [type(model[1]), type(model[3])] == [nn.LeakyReLU, nn.ReLU]
