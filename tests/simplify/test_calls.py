"""Activations that are called as functions, or several times: each call is a site of its own."""

import copy

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.nn import functional

import hf_affscore as ha
from hf_affscore.simplify.calls import Called
from tests.simplify.test_linearise import given, linearise, pictures


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Block(nn.Module):
    """One module for three calls, as torchvision's blocks have it, and functions in several forms."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, pixels):
        hidden = self.relu(self.conv1(pixels))
        hidden = functional.relu(self.conv2(hidden), inplace=True)
        hidden = torch.celu(self.conv3(hidden), 0.3)
        return self.relu(pixels + hidden.tanh())


class Network(nn.Module):
    """Two blocks, and a function of the network itself."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(3, 4)

    def forward(self, pixels):
        return self.head(torch.sigmoid(self.blocks(pixels)).mean((2, 3)))


def test_every_call_has_a_row_of_its_own_and_can_go():
    model, images = Network().eval(), pictures()
    linear, report = linearise(model, images, budget=1.0)
    assert [(row.module, row.activation, row.call, row.map) for row in report.rows[:5]] == [
        ("blocks.0.relu", "ReLU", 0, "blocks.0.conv1"),
        ("blocks.0", "relu", 0, "blocks.0.conv2"),
        ("blocks.0", "celu", 0, "blocks.0.conv3"),
        ("blocks.0", "tanh", 0, "convolution"),
        ("blocks.0.relu", "ReLU", 1, "convolution"),
    ]
    assert report.rows[-1].module == "(model)"
    assert len(report.replaced) == 11
    assert report.after.elements == 0 < report.before.elements
    assert not any(isinstance(part, Called | nn.ReLU) for part in linear.modules())
    assert given(linear, images).shape == (16, 4)


def test_one_call_goes_and_the_others_of_its_module_stay():
    """What is left is the same network with a map at one call, which is computed here by hand."""
    model, images = Network().eval(), pictures()
    before = copy.deepcopy(model)
    linear, report = linearise(model, images, budget=1.0, sites=["blocks.1.relu"])
    assert [row.replaced for row in report.rows].count(True) == 2
    assert type(linear) is Network
    assert type(linear.blocks[0]) is Block
    assert isinstance(linear.blocks[1], fx.GraphModule)
    called = [str(node.target) for node in linear.blocks[1].graph.nodes if node.op.startswith("call")]
    assert called[1:4] == ["relu_0", "conv2", str(functional.relu)]
    assert not any(isinstance(part, Called) for part in linear.modules())
    with torch.no_grad():
        pixels = torch.stack(images)
        inner, block = before.blocks[0](pixels), linear.blocks[1]
        hidden = functional.relu(block.conv2(block.conv1(inner)))
        hidden = torch.celu(block.conv3(hidden), 0.3).tanh()
        wanted = before.head(torch.sigmoid(block.relu_1(inner + hidden)).mean((2, 3)))
    np.testing.assert_allclose(given(linear, images), wanted, rtol=1e-5)
    assert torch.equal(given(model, images), given(before, images))


def test_a_module_around_calls_that_stay_is_the_one_that_was_there():
    images = pictures()
    kept, _ = linearise(Separable().eval(), images, budget=1.0, sites=["second"])
    assert not any(isinstance(part, fx.GraphModule) for part in kept.modules())
    assert [type(part) for part in kept.modules()] == [
        type(part) if name != "second" else nn.Identity for name, part in Separable().named_modules()
    ]


class Separable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.second = nn.ReLU()
        self.head = nn.Linear(3, 4)

    def forward(self, pixels):
        return self.head(functional.relu(self.second(self.conv(pixels))).mean((2, 3)))


def test_what_was_traced_saves_and_loads(tmp_path):
    model, images = Network().eval(), pictures()
    linear, _ = linearise(model, images, budget=1.0, sites=["blocks.0*"])
    torch.save(linear, tmp_path / "whole.pt")
    assert (
        b"hf_affscore" not in (tmp_path / "whole.pt").read_bytes()
    )  # who loads it need not have this package
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(given(again, images), given(linear, images))
    other, _ = linearise(Network().eval(), images, budget=1.0, sites=["blocks.0*"])
    torch.save(linear.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(given(other, images), given(linear, images))


def test_one_module_under_two_names_is_two():
    act = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 3, 1), act, nn.Conv2d(3, 3, 1), act, nn.Flatten(), nn.Linear(192, 4))
    linear, report = linearise(model.eval(), pictures(), budget=1.0)
    assert [(row.module, row.call, row.map) for row in report.rows] == [("1", 0, "0"), ("1", 1, "2")]
    assert type(linear) is nn.Sequential


class InPlace(nn.Module):
    """A call whose result is not used: the tensor that it changes is."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 4)
        self.weight = nn.Parameter(torch.tensor([0.3]))

    def forward(self, pixels):
        hidden = self.conv(pixels)
        hidden.relu_()
        return self.head(functional.prelu(hidden, self.weight).mean((2, 3)))


def test_what_cannot_be_a_module_says_why():
    linear, report = linearise(InPlace().eval(), pictures(), budget=1.0)
    assert [row.reason for row in report.rows] == [
        "it works in place, and its result is not used",
        "called as a function of more than one tensor",
    ]
    assert type(linear) is InPlace


class Unlike(nn.Module):
    """What is traced is no tensor."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 4)

    def forward(self, pixels):
        hidden = functional.relu(self.conv(pixels)).mean((2, 3))
        return self.head(hidden if isinstance(hidden, torch.Tensor) else 2 * hidden)


def test_what_answers_differently_stays():
    linear, report = linearise(Unlike().eval(), pictures(), budget=1.0)
    assert type(linear) is Unlike
    assert report.rows[0].reason == "the Unlike around it answers differently when torch.fx has traced it"


@ha.register_activation
def snake(values):
    return values + torch.sin(values) ** 2


class Own(nn.Module):
    """A function of one's own, which torch.fx looks into."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 4)

    def forward(self, pixels):
        return self.head(functional.relu(snake(self.conv(pixels))).mean((2, 3)))


def test_a_function_that_torch_does_not_see_stays_with_the_calls_beside_it():
    linear, report = linearise(Own().eval(), pictures(), budget=1.0)
    assert type(linear) is Own
    assert [row.activation for row in report.rows] == ["snake", "relu"]
    assert {row.reason for row in report.rows} == {
        "torch.fx does not see every activation of the Own around it"
    }


def test_torchvisions_resnet():
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.resnet18(num_classes=5).eval()
    linear, report = linearise(model, pictures(8, 64), budget=1.0, sites=["layer4*"])
    asked = [row for row in report.rows if row.module.startswith("layer4")]
    assert [(row.module, row.call, row.replaced) for row in asked] == [
        ("layer4.0.relu", 0, True),
        ("layer4.0.relu", 1, True),
        ("layer4.1.relu", 0, True),
        ("layer4.1.relu", 1, True),
    ]
    assert [row.map for row in asked] == ["layer4.0.bn1", "convolution", "layer4.1.bn1", "fc"]
    assert given(linear, pictures(2, 64)).shape == (2, 5)
