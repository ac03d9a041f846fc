"""Blocks and their parts in the trees of networks of every library, built without weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn

from hf_affscore.capture.blocks import Part, parts_and_ends
from hf_affscore.capture.update import _products


def parts_of(model: nn.Module) -> dict[str, Part]:
    """What each block and part of one is, by path."""
    parts, _ = parts_and_ends(model)
    return parts


def counted(model: nn.Module) -> dict[tuple[Part, str], int]:
    """How many there are of each part and class."""
    modules = dict(model.named_modules())
    return dict(Counter((part, type(modules[path]).__name__) for path, part in parts_of(model).items()))


def vision(name: str) -> nn.Module:
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model


def hugging_face(name: str, **settings: object) -> nn.Module:
    model: nn.Module = transformers.AutoModel.from_config(getattr(transformers, f"{name}Config")(**settings))
    return model


CASES: dict[str, tuple[Callable[[], nn.Module], dict[tuple[Part, str], int]]] = {
    "torchvision ResNet": (lambda: vision("resnet18"), {("block", "BasicBlock"): 8}),
    "torchvision ViT": (
        lambda: vision("vit_b_32"),
        {("block", "EncoderBlock"): 12, ("attention", "MultiheadAttention"): 12, ("mlp", "MLPBlock"): 12},
    ),
    "torchvision Swin": (
        lambda: vision("swin_t"),
        {
            ("block", "SwinTransformerBlock"): 12,
            ("attention", "ShiftedWindowAttention"): 12,
            ("mlp", "MLP"): 12,
        },
    ),
    "torchvision ConvNeXt": (lambda: vision("convnext_tiny"), {("block", "CNBlock"): 18}),
    "torchvision MobileNet": (lambda: vision("mobilenet_v2"), {("block", "InvertedResidual"): 17}),
    "torchvision EfficientNet, stages of one block": (
        lambda: vision("efficientnet_b0"),
        {("block", "MBConv"): 16},
    ),
    "timm ViT": (
        lambda: timm.create_model("vit_tiny_patch16_224"),
        {("block", "Block"): 12, ("attention", "Attention"): 12, ("mlp", "Mlp"): 12},
    ),
    "timm ConvNeXt": (
        lambda: timm.create_model("convnext_atto"),
        {("block", "ConvNeXtBlock"): 12, ("mlp", "Mlp"): 12},
    ),
    "timm RegNet, blocks that are attributes": (
        lambda: timm.create_model("regnety_002"),
        {("block", "Bottleneck"): 13},
    ),
    "timm ConvMixer, nothing but Sequential": (
        lambda: timm.create_model("convmixer_768_32"),
        {("block", "Sequential"): 32},
    ),
    "transformers ResNet": (lambda: hugging_face("ResNet"), {("block", "ResNetBottleNeckLayer"): 16}),
    "transformers RegNet, squeeze and excitation inside": (
        lambda: hugging_face("RegNet"),
        {("block", "RegNetYLayer"): 22},
    ),
    "transformers ConvNext": (lambda: hugging_face("ConvNext"), {("block", "ConvNextLayer"): 18}),
    "transformers Swin": (
        lambda: hugging_face("Swin"),
        {("block", "SwinLayer"): 12, ("attention", "SwinAttention"): 12},
    ),
    "transformers CLIP": (
        lambda: hugging_face("CLIPVision"),
        {("block", "CLIPEncoderLayer"): 12, ("attention", "CLIPAttention"): 12, ("mlp", "CLIPMLP"): 12},
    ),
    "transformers ViT": (
        lambda: hugging_face("ViT"),
        {("block", "ViTLayer"): 12, ("attention", "ViTAttention"): 12},
    ),
    "transformers YOLOS, an MLP in two modules": (
        lambda: hugging_face("Yolos"),
        {("block", "YolosLayer"): 12, ("attention", "YolosAttention"): 12, ("mlp", "Linear"): 12},
    ),
    "torchvision DenseNet": (lambda: vision("densenet121"), {("block", "_DenseLayer"): 58}),
    "no blocks": (lambda: vision("vgg11"), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_the_usual_libraries(name: str) -> None:
    build, expected = CASES[name]
    with torch.device("meta"):
        found = counted(build())
    # transformers had no module for the MLP of ViT and Swin before 5.0.
    assert {key: count for key, count in found.items() if key in expected or key[0] != "mlp"} == expected


@pytest.mark.parametrize("last", [(False, False), (True, True), (True, False)])
@pytest.mark.parametrize("added", [False, True])
def test_products_of_an_image_are_sums_over_all_its_entries_in_any_layout(
    last: tuple[bool, bool], added: bool
) -> None:
    sides = torch.randn(2, 3, 5, 30, 30, generator=torch.Generator().manual_seed(0))
    layouts = (torch.channels_last if each else torch.contiguous_format for each in last)
    x, y = (side.contiguous(memory_format=layout) for side, layout in zip(sides, layouts, strict=True))
    whole, other = sides.double().flatten(2)
    u = other if added else other - whole
    expected = torch.stack([(a * b).sum(dim=1) for a, b in ((whole, whole), (whole, u), (u, u))], dim=1)
    np.testing.assert_allclose(_products(x, y, added=added).numpy(), expected, rtol=1e-12)


class Split(nn.Module):
    """A block whose MLP is two modules, the second of which may add the residual stream."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 8))
        self.start = nn.Sequential(nn.Linear(8, hidden), nn.GELU())
        self.end = nn.Sequential(nn.Linear(hidden, 8), nn.LayerNorm(8))


def test_an_mlp_in_two_modules_goes_from_the_first_layer_to_the_second() -> None:
    parts, ends = parts_and_ends(nn.Sequential(Split(), Split()))
    assert [(path, part) for path, part in parts.items() if path[0] == "1"] == [
        ("1", "block"),
        ("1.attention", "attention"),
        ("1.start.0", "mlp"),
    ]
    assert ends == {"0.start.0": "0.end.0", "1.start.0": "1.end.0"}


@pytest.mark.parametrize("hidden", [8, 2])
def test_two_layers_that_do_not_widen_are_no_mlp(hidden: int) -> None:
    """Squeeze and excitation narrows; projections keep the width."""
    assert "mlp" not in parts_of(nn.Sequential(Split(hidden), Split(hidden))).values()


class Residual(nn.Module):
    """A block with two attentions, which are numbered siblings themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attn1 = nn.MultiheadAttention(8, 2)
        self.attn2 = nn.MultiheadAttention(8, 2)
        self.ff = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))


def test_siblings_inside_a_block_are_its_parts() -> None:
    parts = parts_of(nn.Sequential(nn.Linear(8, 8), Residual(), Residual()))
    assert parts == {
        f"{number}{child}": part
        for number in "12"
        for child, part in {"": "block", ".attn1": "attention", ".attn2": "attention", ".ff": "mlp"}.items()
    }


def test_blocks_that_are_attributes() -> None:
    network = nn.Module()
    network.block1, network.block2, network.other3 = Residual(), Residual(), Residual()
    assert [path for path, part in parts_of(network).items() if part == "block"] == ["block1", "block2"]


def test_a_shared_block_has_one_path() -> None:
    shared = Residual()
    assert "2" not in parts_of(nn.Sequential(shared, Residual(), shared))


def test_what_has_only_one_matrix_is_no_block() -> None:
    layers = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(4)]
    assert parts_of(nn.Sequential(*layers)) == {}
