"""Blocks and their parts that give way to affine maps: closed forms, shapes, what stays, and the costs."""

import numpy as np
import pytest
import torch
from torch import nn

import hf_affscore as ha
from hf_affscore.errors import InputError, NoActivationError
from hf_affscore.simplify import block_map
from hf_affscore.simplify.block_map import RIDGES, Products, fit
from tests.simplify.test_linearise import given, pictures


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def linearise(model, images, **options):
    options = {"level": "blocks", "num_samples": len(images), "shuffle": False, "progress": False, **options}
    return ha.linearise(model, images, **options)


class Residual(nn.Module):
    """A block of 1 x 1 convolutions; without its activation it is an affine map of channels."""

    def __init__(self, inputs, outputs, stride=1, act=nn.Identity):
        super().__init__()
        self.conv1, self.act = nn.Conv2d(inputs, outputs, 1, stride=stride), act()
        self.conv2 = nn.Conv2d(outputs, outputs, 1)
        self.down = nn.Conv2d(inputs, outputs, 1, stride=stride) if inputs != outputs else nn.Identity()

    def forward(self, values):
        return self.down(values) + self.conv2(self.act(self.conv1(values)))


def convolutional(act=nn.Identity, size=7):
    blocks = Residual(3, 3, act=act), Residual(3, 6, stride=2, act=act), Residual(6, 6, act=act)
    return nn.Sequential(
        nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).eval()


def test_affine_blocks_go_without_a_trace(tmp_path):
    """Odd sizes and a stride: the map has the stride of the block, and gives what the block gave."""
    model, images = convolutional(), pictures(32, 7)
    linear, report = linearise(model, images, budget=0.0)
    np.testing.assert_allclose(given(linear, images), given(model, images), rtol=1e-4, atol=1e-6)
    assert [(row.module, row.part, row.map) for row in report.rows] == [
        (f"0.{number}", "block", "convolution") for number in range(3)
    ]
    assert [row.r2 for row in report.rows] == pytest.approx([1, 1, 1])
    assert [type(part) for part in linear[0]] == [nn.Conv2d] * 3
    assert linear[0][1].stride == (2, 2)
    torch.save(linear.state_dict(), tmp_path / "state.pt")
    other, _ = linearise(convolutional(), images, budget=1.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(given(other, images), given(linear, images))


def test_savings_are_counted_by_hand():
    _, report = linearise(convolutional(nn.ReLU), pictures(32, 7), sites=["0.1"], budget=1.0)
    row = report.rows[1]
    block, its_map = (3 * 6 + 6) + (6 * 6 + 6) + (3 * 6 + 6), 3 * 6 + 6
    assert row.parameters == block - its_map
    assert row.operations == 2 * 16 * ((3 * 6 + 6 * 6 + 3 * 6) - 3 * 6)
    assert row.elements == 6 * 16
    assert report.before.parameters - report.after.parameters == row.parameters
    assert report.before.operations - report.after.operations == row.operations
    assert report.before.elements - report.after.elements == row.elements
    assert report.rows[0].reason == "not among the sites that were asked for"


@pytest.mark.parametrize("level", ["blocks", "activations"])
def test_a_dry_run_lists_and_leaves_everything(level):
    model, images = convolutional(nn.ReLU), pictures(32, 7)
    linear, report = linearise(model, images, level=level, budget=1.0, dry_run=True)
    _, wanted = linearise(model, images, level=level, budget=1.0)
    assert torch.equal(given(linear, images), given(model, images))
    assert {row.reason for row in report.rows} == {"a dry run tries nothing"}
    assert f"{len(report.rows)} of {len(report.rows)}" in str(report)
    assert "none was tried" in " ".join(str(report).split())
    assert "Class as before" not in str(report)
    for dry, row in zip(report.rows, wanted.rows, strict=True):
        same = [name for name in dry if name not in ("agreement_alone", "agreement_together")]
        assert [dry[name] for name in same[:-3]] == [row[name] for name in same[:-3]]
    assert len(wanted.replaced) == len(report.rows)


class Tokens(nn.Module):
    """Layers of a transformer, called as transformers call them: by name, and with more than one argument."""

    def __init__(self, layer, count=2):
        super().__init__()
        self.embed = nn.Linear(16, 8)
        self.layers = nn.ModuleList(layer() for _ in range(count))
        self.head = nn.Linear(8, 4)

    def forward(self, pixels):
        hidden = self.embed(pixels.flatten(2).unflatten(2, (4, 16)).flatten(1, 2))
        for layer in self.layers:
            hidden = layer(hidden, mask=None)[0]
        return self.head(hidden.mean(1))


def test_an_mlp_of_two_modules_stays_and_its_block_goes():
    """Its first layer alone is no MLP: it is linear, and a map of it would save nothing."""

    class Layer(nn.TransformerEncoderLayer):
        def __init__(self):
            super().__init__(8, nhead=2, dim_feedforward=32, batch_first=True)

        def forward(self, hidden, mask):
            return super().forward(hidden), mask

    _, report = linearise(Tokens(Layer).eval(), pictures(32), budget=1.0)
    assert [(row.module, row.part) for row in report.rows[:3:2]] == [
        ("layers.0", "block"),
        ("layers.0.linear1", "mlp"),
    ]
    reasons = {row.reason for row in report.rows if row.part == "mlp"}
    assert reasons == {"it is two modules, and no one module can stand for both"}
    assert [row.replaced for row in report.rows if row.part == "block"] == [True, True]


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)

    def forward(self, values):
        return self.fc2(self.act(self.fc1(values)))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.mlp = nn.MultiheadAttention(8, 2, batch_first=True), Mlp()

    def forward(self, hidden_states, mask=None):
        mixed, _ = self.attn(hidden_states, hidden_states, hidden_states, need_weights=False)
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(hidden_states), mask


def test_layers_and_their_parts(tmp_path):
    model, images = Tokens(Layer).eval(), pictures(32)
    linear, report = linearise(model, images, budget=1.0, sites=["attention", "mlp"])
    assert [(row.module, row.part, row.replaced) for row in report.rows] == [
        *(("layers.0", "block", False), ("layers.0.attn", "attention", True), ("layers.0.mlp", "mlp", True)),
        *(("layers.1", "block", False), ("layers.1.attn", "attention", True), ("layers.1.mlp", "mlp", True)),
    ]
    assert {row.map for row in report.replaced} == {"linear layer"}
    assert isinstance(linear.layers[0].mlp, nn.Linear)  # a plain call of one tensor
    assert report.after.elements == 0 < report.before.elements
    torch.save(linear, tmp_path / "whole.pt")
    assert b"hf_affscore" not in (tmp_path / "whole.pt").read_bytes()
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(given(again, images), given(linear, images))


def test_a_block_takes_its_parts_with_it():
    model, images = Tokens(Layer).eval(), pictures(32)
    linear, report = linearise(model, images, budget=1.0)
    assert [row.module for row in report.replaced] == ["layers.0", "layers.1"]
    for row in report.rows:
        assert row.replaced or row.reason == f"it is part of {row.module[:8]}, which is replaced as a whole"
    assert [name for name, _ in linear.layers[0].named_parameters()] == ["map.weight", "map.bias"]
    assert linear.layers[0](torch.zeros(1, 2, 8), mask=None)[1] is None


def test_the_least_agreement_is_kept():
    model, images = convolutional(nn.Tanh), pictures(64, 7)
    with torch.no_grad():
        model[3].bias -= model(torch.stack(images)).mean(0)
    for least in (0.8, 1.0):
        linear, report = linearise(model, images, budget=1 - least)
        same = (given(linear, images).argmax(1) == given(model, images).argmax(1)).double()
        assert report.agreement_chosen == float(same[1::4].mean()) >= least
        assert report.agreement == float(same[3::4].mean())


class Strange(Residual):
    """Blocks that no map of channels can stand in for."""

    def forward(self, values):
        found = super().forward(values)
        return {0: (found, values), 1: found[:, :, :5], 2: found.flatten(2)}[self.kind]


def test_what_stays_has_its_reason():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Strange(3, 3) for _ in range(3))
            for kind, block in enumerate(self.blocks):
                block.kind = kind
            self.twice = nn.ModuleList(Residual(3, 3) for _ in range(2))
            self.head = nn.Linear(3, 4)

        def forward(self, pixels):
            hidden = self.blocks[1](self.blocks[0](pixels)[0])
            hidden = self.twice[0](self.twice[0](hidden)) + self.twice[1].conv1(self.twice[1](hidden))
            return self.head(self.blocks[2](hidden).mean(2))

    _, report = linearise(Network().eval(), pictures(16, 7), budget=1.0)
    reasons = {row.module: row.reason for row in report.rows}
    assert "another number of tensors than one" in reasons["blocks.0"]
    assert "other positions, of shape (1, 3, 5, 7)" in reasons["blocks.1"]
    assert "other axes, (1, 3, 35)" in reasons["blocks.2"]
    assert reasons["twice.0"].startswith("it runs 2 times in a pass")
    assert "does not run with a map in its place (AttributeError" in reasons["twice.1"]
    assert not report.replaced


def test_refusals_say_what_to_do():
    with pytest.raises(InputError, match=r"sites has 'mpl', which matches no block.*Did you mean 'mlp'"):
        linearise(Tokens(Layer).eval(), pictures(16), sites=["mpl"])
    with pytest.raises(NoActivationError, match="No repeated blocks were found in Sequential"):
        linearise(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), pictures(16))
    with pytest.raises(InputError, match="pooling is 'positions', which cannot apply"):
        linearise(convolutional(), pictures(16), pooling="positions")


def products(x, y):
    found = Products()
    for one, two in zip(x.split(10), y.split(10), strict=True):
        found.add(one, two)
    return found


def test_the_ridge_is_the_one_that_predicts_the_others_best():
    x, noise = torch.randn(60, 20).double(), torch.randn(60, 3).double()
    y = x @ torch.randn(20, 3).double() + 5 * noise + 1
    found = fit(products(x[:30], y[:30]), products(x[30:], y[30:]), around=False)
    errors = {}
    for ridge in RIDGES:
        centre, target = x[:30].mean(0), y[:30].mean(0)
        centred = x[:30] - centre
        covariance = centred.T @ centred / 30
        penalty = ridge * covariance.trace() / 20 * torch.eye(20).double()
        matrix = torch.linalg.solve(covariance + penalty, centred.T @ (y[:30] - target) / 30)
        errors[ridge] = float(((y[30:] - target - (x[30:] - centre) @ matrix) ** 2).sum())
    best = min(errors, key=errors.get)
    total = float(((y[30:] - y[30:].mean(0)) ** 2).sum())
    assert found.ridge == best not in (RIDGES[0], RIDGES[-1])
    assert found.r2 == pytest.approx(1 - errors[best] / total)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / 60
    penalty = best * covariance.trace() / 20 * torch.eye(20).double()
    wanted = torch.linalg.solve(covariance + penalty, centred.T @ (y - y.mean(0)) / 60)  # of all rows
    np.testing.assert_allclose(found.matrix, wanted, rtol=1e-9)
    np.testing.assert_allclose(found.offset, y.mean(0) - x.mean(0) @ wanted, rtol=1e-9)


def test_a_map_has_the_number_format_of_the_input_of_its_block():
    class TwoFormats(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 3, 1)
            self.blocks = nn.ModuleList(Residual(3, 3) for _ in range(2)).to(torch.bfloat16)

        def forward(self, pixels):
            hidden = self.stem(pixels).to(torch.bfloat16)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden.float().mean((2, 3))

    linear, report = linearise(TwoFormats().eval(), pictures(32), budget=1.0)
    assert [row.map for row in report.rows] == ["convolution", "convolution"]
    assert {block.weight.dtype for block in linear.blocks} == {torch.bfloat16}


@pytest.mark.parametrize(("part", "wanted"), [("block", torch.eye(8)), ("mlp", torch.zeros(8, 8))])
def test_only_a_block_that_keeps_the_shape_has_a_stream(part, wanted, monkeypatch):
    monkeypatch.setattr(block_map, "RIDGES", (1e6,))
    linear, _ = linearise(Tokens(Layer).eval(), pictures(32), budget=1.0, sites=[part])
    layer = linear.layers[0].map if part == "block" else linear.layers[0].mlp
    np.testing.assert_allclose(layer.weight.detach(), wanted, atol=1e-4)


def test_a_large_ridge_leaves_the_stream_of_a_block_and_the_mean_of_a_part():
    x = torch.randn(60, 20).double()
    y = x + 0.1 * torch.randn(60, 20).double()
    halves = products(x[:30], y[:30]), products(x[30:], y[30:])
    around = fit(*halves, around=True)
    assert around.ridge == RIDGES[-1]
    np.testing.assert_allclose(around.matrix, torch.eye(20), atol=0.01)
    plain = fit(*halves, around=False)
    assert around.r2 > plain.r2
