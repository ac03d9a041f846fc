"""Maps that go into the layer after an activation: equal to what the map in its place gives, or not done."""

import numpy as np
import pytest
import torch
from torch import nn

from hf_affscore.simplify.channel_map import ChannelMap, Fit
from hf_affscore.simplify.replacing import settle
from hf_affscore.simplify.sample import Part
from hf_affscore.simplify.sites import find_sites
from hf_affscore.simplify.trial import put


class Add(nn.Module):
    """Before an activation, so that no layer before it can take a map in."""

    def forward(self, values):
        return values + 0.5


def of(*layers, size=6):
    """A network whose second module is a ReLU of four channels, and random images."""
    torch.manual_seed(0)
    model = nn.Sequential(Add(), nn.ReLU(), *layers).double().eval()
    part = Part({"pixel_values": torch.randn(4, 4, size, size, dtype=torch.double)}, 4, torch.device("cpu"))
    return model, part


def settled(model, part, offset=1.0):
    """What the map in place gives, what the settled network gives, and where the map went."""
    torch.manual_seed(1)
    pixels = part.inputs["pixel_values"]
    fit = Fit(torch.rand(4).double() + 0.5, offset * torch.randn(4).double(), 1.0, pixels.dtype)
    (site,) = find_sites(model, part, None)
    put(model, site.path, ChannelMap(fit, site.axis))
    with torch.no_grad():
        wanted = model(pixels)
        where = settle(model, lambda: True, site, fit, part)
        return wanted, model(pixels), where


HEAD = nn.AdaptiveAvgPool2d(1), nn.Flatten()

AFTER = {
    "linear after pooling": (*HEAD, nn.Linear(4, 3)),
    "linear after flattening": (nn.AvgPool2d(6), nn.Dropout(), nn.Flatten(), nn.Linear(4, 3)),
    "convolution": (nn.Conv2d(4, 3, 3), *HEAD),
    "convolution without bias": (nn.Conv2d(4, 3, 3, stride=2, bias=False), *HEAD),
    "grouped convolution": (nn.Conv2d(4, 6, 3, groups=2), *HEAD),
    "depthwise convolution": (nn.Conv2d(4, 8, 3, groups=4), *HEAD),
}


@pytest.mark.parametrize("name", AFTER)
def test_a_map_goes_into_the_layer_after(name):
    model, part = of(*AFTER[name])
    wanted, found, where = settled(model, part)
    assert where == next(str(number) for number, layer in enumerate(model) if hasattr(layer, "weight"))
    assert isinstance(model[1], nn.Identity)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("padding", [1, "same", (0, 1)])
def test_an_offset_stays_out_of_a_padded_convolution_and_a_slope_goes_in(padding):
    wanted, found, where = settled(*of(nn.Conv2d(4, 3, 3, padding=padding), *HEAD))
    assert where == "convolution"
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    wanted, found, where = settled(*of(nn.Conv2d(4, 3, 3, padding=padding), *HEAD), offset=0.0)
    assert where == "2"
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_small_offset_is_an_offset():
    """In float32 its difference at the border of an image is less than the tolerance for rounding."""
    model, part = of(nn.Conv2d(4, 3, 3, padding=1), *HEAD)
    part.inputs["pixel_values"] = part.inputs["pixel_values"].float()
    assert settled(model.float(), part, offset=1e-4)[2] == "convolution"


def test_other_padding_and_other_shapes_stay():
    """Around the image stand other numbers, and a linear layer has one weight for every pixel."""
    for layers in (
        (nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), *HEAD),
        (nn.AvgPool2d(3, padding=1), nn.Conv2d(4, 3, 1), *HEAD),
        (nn.Flatten(), nn.Linear(144, 3)),
    ):
        wanted, found, where = settled(*of(*layers))
        assert where == "convolution"
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_layer_that_is_not_the_only_use_is_left_alone():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, values):
            return self.conv(values) + values

    model, part = of(Both(), *HEAD)
    weight = model[2].conv.weight
    wanted, found, where = settled(model, part)
    assert where == "convolution"
    assert model[2].conv.weight is weight
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
