"""Models of images and text are run on their image side; what needs something else says so."""

import pytest
import torch
import transformers
from torch import nn

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.transformers import from_configuration
from hf_affscore.models.vision_forward import vision_forward
from tests.versions import needs

SIDES = {
    "ViTForImageClassification": "forward",
    "DetrForObjectDetection": "forward",
    "DepthAnythingForDepthEstimation": "forward",
    "ViTForMaskedImageModeling": "forward",
    "CLIPModel": "get_image_features",
    "SiglipModel": "get_image_features",
    "CLIPVisionModel": "forward",
    "Idefics3VisionTransformer": "forward",
    "Siglip2VisionModel": "forward",
    "PerceiverForImageClassificationLearned": "forward",
    "OwlViTForObjectDetection": "owlvit.get_image_features",
    "Blip2ForImageTextRetrieval": "vision_model",
    "GroundingDinoForObjectDetection": "model.backbone.conv_encoder.model",
    "VideoPrismVisionModel": "forward",
    "BlipForConditionalGeneration": "vision_model",
    "GitForCausalLM": "git.image_encoder",
    "LlavaNextForConditionalGeneration": "model.vision_tower",
}


def build(name: str) -> nn.Module:
    cls = getattr(transformers, name)
    with torch.device("meta"):
        return from_configuration(cls, cls.config_class()).eval()


OLDER = {
    "VideoPrismVisionModel": [needs("transformers", "5.13", "it has no such model")],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=OLDER.get(name, [])) for name in SIDES])
def test_what_runs(name: str) -> None:
    model = build(name)
    side = vision_forward(model)
    assert side.name == SIDES[name]
    owner = model.get_submodule(
        side.name.removesuffix("get_image_features").rstrip(".").replace("forward", "")
    )
    assert getattr(side.run, "__self__", side.run) is owner


def test_inputs_that_are_not_taken_are_left_out() -> None:
    model = build("CLIPModel")
    size = model.config.vision_config.image_size
    inputs = {name: torch.empty(2, 3, size, size, device="meta") for name in ("pixel_values", "pixel_mask")}
    vision_forward(model)(inputs)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("ImageGPTForImageClassification", r"input_ids, as a language model does\."),
        ("BertModel", r"input_ids, as a language model does\."),
        ("Wav2Vec2Model", r"input_values, as a model of sound does\."),
        ("WhisperForConditionalGeneration", r"input_features, as a model of sound does\."),
        ("Qwen3VLVisionModel", r"grid_thw, hidden_states\."),
    ],
)
def test_other_inputs_are_named(name: str, needs: str) -> None:
    with pytest.raises(ModelError, match=f"{name} cannot run on images alone: it needs {needs}"):
        vision_forward(build(name))


def test_a_bare_module_takes_pixels() -> None:
    model = nn.ReLU()
    x = torch.randn(2, 3)
    assert torch.equal(vision_forward(model)({"pixel_values": x, "labels": x}), x.relu())
