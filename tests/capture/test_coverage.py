"""Capture misses nothing: an independent count of dispatched operators agrees, one architecture per family.

All architectures: ``make coverage``, whose table is docs/coverage.md.
"""

from collections import Counter

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.capture.coverage import DOCUMENT, LIBRARIES, Count, examine, section
from tests.capture.zoo import Architecture, timm_models, torchvision_models, transformers_model

#: A subset that has every mechanism: composites, functions, gates, attention of each kind, windows, recurrence.
TRANSFORMERS = {
    *("ViTForImageClassification", "SwinForImageClassification", "ConvNextForImageClassification"),
    *("CLIPModel", "MobileViTForImageClassification", "LevitForImageClassification", "Swinv2Backbone"),
    *("DetrForObjectDetection", "SegformerForSemanticSegmentation", "DepthAnythingForDepthEstimation"),
    *("Dinov2Backbone", "EfficientNetForImageClassification", "FocalNetForImageClassification"),
}
TIMM = {
    *(
        "sequencer2d_s",
        "poolformer_s12",
        "caformer_s18",
        "dm_nfnet_f0",
        "gmlp_s16_224",
        "xcit_nano_12_p8_224",
    ),
    *(
        "tf_efficientnet_lite0",
        "mobilenetv3_large_100",
        "res2net50_14w_8s",
        "maxvit_nano_rw_256",
        "coat_tiny",
    ),
    *(
        "eva02_tiny_patch14_224",
        "regnety_002",
        "densenet121",
        "inception_v4",
        "volo_d1_224",
        "hrnet_w18_small",
    ),
}


def architectures() -> list[Architecture]:
    chosen = [transformers_model(name) for name in sorted(TRANSFORMERS)]
    chosen += [
        Architecture("timm", name, lambda name=name: timm.create_model(name))
        for name in sorted(TIMM)
        if timm.is_model(name)
    ]
    chosen += [a for a in torchvision_models() if a.name in {"vit_b_32", "swin_t", "mobilenet_v3_small"}]
    return chosen


@pytest.mark.parametrize("architecture", architectures(), ids=lambda architecture: architecture.name)
def test_capture_agrees_with_the_independent_count(architecture: Architecture) -> None:
    result = examine(architecture)
    assert not result.problem
    assert not result.difference
    assert result.counted == result.captured + result.skipped.total() > 0


class Hidden(nn.Module):
    """What the count has to see through: in place, out of a list, as an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.GELU()]

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.silu_(self.hidden[0](F.relu_(x)).softmax(-1))


def test_the_count_itself() -> None:
    model = nn.Sequential(Hidden(), nn.PReLU(), nn.LSTM(4, 4))
    with Count(model) as count:
        model(torch.randn(3, 4))
    assert count.calls == Counter({"0": 4, "1": 1, "2": 1})
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_network_without_activations_is_exact() -> None:
    result = examine(Architecture("here", "Linear", lambda: nn.Sequential(nn.Conv2d(3, 4, 3))))
    assert result.is_covered
    assert result.counted == result.captured == 0


def test_a_missed_call_would_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_affscore.capture import activations

    forms = {form: entry for form, entry in activations._functions().items() if entry.name != "gelu"}
    names = {name: entry for name, entry in activations._names().items() if entry.name != "gelu"}
    monkeypatch.setattr(activations, "_functions", lambda: forms)
    monkeypatch.setattr(activations, "_names", lambda: names)
    monkeypatch.setattr(activations, "kernel_of_name", lambda name: None)
    result = examine(Architecture("here", "Hidden", lambda: nn.Sequential(Hidden())))
    assert result.difference == "0: 3 seen, 4 counted"
    assert "**0: 3 seen, 4 counted**" in section("timm", [result])


def test_the_document_is_of_the_tested_kind() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for library in LIBRARIES:
        assert f"## {library} " in text
    assert "seen" not in text  # no call was missed
    assert sum(1 for _ in timm_models()) > 1_300
