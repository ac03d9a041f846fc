"""Checkpoints of every kind become a module and its preprocessing."""

import json
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from transformers import (
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetForImageClassification,
    VideoMAEConfig,
    VideoMAEModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

import hf_affscore as ha
from hf_affscore.checksums import model_checksum
from hf_affscore.cli import main
from hf_affscore.errors import AffscoreWarning, InputError, ModelError
from hf_affscore.models.libraries.transformers_classes import class_of
from hf_affscore.models.loading import load_checkpoint, locate_model
from hf_affscore.options import Options

TINY_VIT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "image_size": 16, "patch_size": 8}  # fmt: skip


def load(model, processor=None, **options):
    asked = Options(**options)
    return load_checkpoint(locate_model(model, asked) if isinstance(model, Path) else model, processor, asked)


def test_a_backbone_without_head_is_loaded_without_a_head(tmp_path):
    Dinov2Model(Dinov2Config(**{**TINY_VIT, "num_channels": 3})).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    checkpoint = load(tmp_path)
    assert type(checkpoint.module) is Dinov2Model
    assert checkpoint.input_shape() == (3, 16, 16)
    checkpoint.forward(checkpoint.inputs([Image.new("RGB", (20, 30))]))


def test_a_checkpoint_with_weights_of_five_axes_is_loaded(tmp_path):
    shape = {**TINY_VIT, "num_frames": 2, "tubelet_size": 2}
    VideoMAEModel(VideoMAEConfig(**shape)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert type(load(tmp_path).module) is VideoMAEModel


def test_the_class_comes_from_the_checkpoint_else_from_the_auto_classes():
    assert class_of(ViTConfig(architectures=["ViTModel"])) is ViTModel
    assert (
        class_of(ResNetConfig(architectures=["ResNetForImageClassification"])) is ResNetForImageClassification
    )
    assert class_of(ResNetConfig()) is ResNetForImageClassification
    assert class_of(ResNetConfig(architectures=["pipeline"])) is ResNetForImageClassification


def test_a_timm_checkpoint_loads_through_transformers_where_that_is_asked_for(tmp_path):
    timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=3), tmp_path)
    checkpoint = load(tmp_path, loader="transformers")
    assert type(checkpoint.module).__name__.startswith("TimmWrapper")
    assert checkpoint.metadata["wraps"] == "ResNet"
    checkpoint.forward(checkpoint.inputs([Image.new("RGB", (200, 300))]))


def test_a_timm_module_brings_its_own_transform():
    checkpoint = load(timm.create_model("test_resnet"))
    assert checkpoint.input_shape() == (3, 160, 160)
    assert checkpoint.preprocessing["class"] == "Compose"


def test_a_module_is_neither_moved_nor_converted():
    module = torch.nn.Linear(3, 3).double()
    checkpoint = load(module)
    assert checkpoint.module is module
    assert module.weight.dtype == torch.float64
    assert checkpoint.inputs([torch.zeros(3, 4, 4)])["pixel_values"].dtype == torch.float64


def test_precision_is_asked_for(tmp_path):
    ViTModel(ViTConfig(**TINY_VIT)).half().save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert load(tmp_path).module.dtype == torch.float32
    assert load(tmp_path, dtype="bfloat16").module.dtype == torch.bfloat16
    assert load(tmp_path, dtype="auto").module.dtype == torch.float16


def test_no_image_processor_is_made_up_for_by_that_of_the_configuration(tmp_path):
    ViTModel(ViTConfig(**TINY_VIT)).save_pretrained(tmp_path)
    with pytest.warns(AffscoreWarning, match="has no image processor: ViTImageProcessor(Fast)? at 16 x 16"):
        assert load(tmp_path).input_shape() == (3, 16, 16)
    checkpoint = load(tmp_path, processor=lambda image: torch.zeros(3, 16, 16))
    assert checkpoint.input_shape() == (3, 16, 16)


def test_a_processor_of_the_wrong_kind(tmp_path):
    with pytest.raises(InputError, match="processor is a int; expected an image processor"):
        load(torch.nn.ReLU(), processor=3)
    with pytest.raises(ModelError, match="'resize' was not found"):
        load(torch.nn.ReLU(), processor="resize")
    with pytest.raises(InputError, match=r"has no preprocessor_config\.json; expected a Hub id"):
        load(torch.nn.ReLU(), processor=str(tmp_path))


def test_a_processor_by_its_name(tmp_path, hub, recwarn):
    ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(tmp_path)
    hub.add("model", "ada/processor", tmp_path)
    for name in (str(tmp_path), tmp_path, "ada/processor"):
        assert load(torch.nn.ReLU(), processor=name).input_shape() == (3, 24, 24)
    assert load(torch.nn.ReLU(), processor="imagenet").input_shape() == (3, 224, 224)
    assert not [each for each in recwarn if issubclass(each.category, AffscoreWarning)], "it was asked for"
    ViTModel(ViTConfig(**TINY_VIT)).save_pretrained(tmp_path / "net")
    assert load(tmp_path / "net", processor="imagenet").input_shape() == (3, 16, 16)


def test_inspect_takes_the_processor_of_analyze(tmp_path, capsys):
    """In Python and on the command line; of a network whose rows follow the size of its images."""
    torch.manual_seed(0)
    layers = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic"}
    ResNetForImageClassification(ResNetConfig(**layers)).save_pretrained(tmp_path / "net")
    ViTImageProcessor(size={"height": 48, "width": 32}).save_pretrained(tmp_path / "net")
    ViTImageProcessor(size={"height": 64, "width": 96}).save_pretrained(tmp_path / "other")
    other = tmp_path / "other"

    def shape(**options):
        return ha.inspect(tmp_path / "net", **options).rows[0].shape

    def transform(image):
        return torch.zeros(3, 80, 80)

    assert shape() == "8 x 24 x 16"
    assert shape(processor=other) == shape(processor=str(other)) == "8 x 32 x 48"
    assert shape(processor=ViTImageProcessor.from_pretrained(other)) == "8 x 32 x 48"
    assert shape(processor=transform) == "8 x 40 x 40"
    assert shape(processor="imagenet") == "8 x 112 x 112"
    module = ResNetForImageClassification.from_pretrained(tmp_path / "net")
    assert ha.inspect(module, processor=other).rows[0].shape == "8 x 32 x 48"
    assert ha.inspect(module.config, processor=other).rows[0].shape == "8 x 32 x 48"
    with pytest.raises(SystemExit) as done:
        main(["inspect", str(tmp_path / "net"), "--processor", str(other), "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["shape"] == "8 x 32 x 48"
    with pytest.raises(InputError, match=r"Expected inputs or a processor.*received both"):
        ha.inspect(module, inputs=torch.zeros(2, 3, 32, 32), processor=other)
    with pytest.raises(InputError, match="processor is a int; expected an image processor"):
        ha.inspect(module, processor=3)


def test_a_checksum_changes_with_any_file_that_matters(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = model_checksum(tmp_path)
    (tmp_path / "README.md").write_text("a card changes nothing")
    assert model_checksum(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    seen = {first, model_checksum(tmp_path)}
    assert len(seen) == 2
    (tmp_path / "vae").mkdir()
    for number, name in enumerate(
        ("model.onnx", "model.onnx.data", "net.pt2", "best.pt", "vae/config.json", "net.yaml", "names.txt"), 3
    ):
        (tmp_path / name).write_bytes(b"{}")
        seen.add(model_checksum(tmp_path))
        assert len(seen) == number, name


def test_a_card_is_welcome_and_never_needed(tmp_path):
    ViTModel(ViTConfig(**TINY_VIT)).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    result = "model-index:\n- name: n\n  results:\n  - task: {type: t}\n    dataset: {name: d, type: d}\n"
    result += "    metrics:\n    - type: accuracy\n      value: 0.5\n"
    for text, accuracy in {
        "---\nlicense: mit\nmodel-index: [a, {b: c\n---\n# A model\n": None,
        "---\n- a list\n---\n": None,
        "---\nmodel-index: 3\n---\n": None,
        "\xff": None,
        f"---\n{result}---\n": 0.5,
    }.items():
        (tmp_path / "README.md").write_text(text, encoding="latin-1")
        assert load(tmp_path).metadata["accuracy"] == accuracy
