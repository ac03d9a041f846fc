"""Whatever timm writes loads as timm loads it, and an untrained network is drawn as timm draws it."""

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification, ViTImageProcessor

import hf_affscore as ha
from hf_affscore.errors import InputError, ModelError
from hf_affscore.models.loading import load_checkpoint, locate_model
from hf_affscore.options import Options
from tests.models.by_hand import check, photographs

KINDS = {
    "classifier": {},
    "three classes": {"num_classes": 3},
    "headless": {"num_classes": 0},
    "one channel": {"in_chans": 1},
    "four channels": {"in_chans": 4},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_timm_writes(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    timm.models.save_for_hf(timm.create_model("test_resnet", **KINDS[kind]), tmp_path)
    module, transform = by_hand(tmp_path)
    mode = {1: "L", 4: "RGBA"}.get(module.in_chans, "RGB")
    signature = check(tmp_path, module, lambda image: transform(image.convert(mode)))
    assert signature.metadata["model"]["class"] == "ResNet"
    assert signature.metadata["model"]["library"] == "timm"
    assert signature.metadata["model"]["library_version"] == timm.__version__


def test_a_network_for_images_of_another_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = timm.create_model("test_vit", img_size=64)
    timm.models.save_for_hf(made, tmp_path, model_args={"img_size": 64})
    transform = create_transform(**resolve_model_data_config(made, args={"input_size": (3, 64, 64)}))
    assert check(tmp_path, made, transform).rows[0].dim == (64 // 16) ** 2 + 1
    alone = ha.analyze(made, photographs(), num_samples=4, progress=False)
    assert alone.metadata["preprocessing"]["settings"] == repr(transform)


def test_channels_that_transformers_does_not_convert(tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model("test_resnet", in_chans=1), tmp_path)
    with pytest.raises(
        ModelError, match=r"\(4, 3, .*: it takes images with 1 channel.*, not 3\. .*loader='timm'"
    ) as told:
        ha.analyze(tmp_path, photographs(), num_samples=4, cache=False, progress=False, loader="transformers")
    assert "weight of size" not in str(told.value)


def by_hand(folder: Path) -> tuple[torch.nn.Module, object]:
    module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return module, create_transform(**resolve_model_data_config(module))


def test_a_list_of_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=0), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"] = {"features_only": True, "out_indices": [0, 1, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    module, transform = by_hand(tmp_path)
    signature = check(tmp_path, module, transform)
    assert signature.metadata["model"]["class"] == "FeatureListNet"


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors", "weights.pth"])
def test_a_flat_configuration_of_before_0_8(weights: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = timm.create_model("test_resnet", num_classes=5)
    timm.models.save_for_hf(module, tmp_path, safe_serialization=weights.endswith("safetensors"))
    written = next(path for path in tmp_path.iterdir() if path.suffix != ".json")
    written.rename(tmp_path / weights)
    config = json.loads((tmp_path / "config.json").read_text())
    flat = {"architecture": "test_resnet", **config["pretrained_cfg"], "labels": list("abcde")}
    (tmp_path / "config.json").write_text(json.dumps(flat))
    check(tmp_path, *by_hand(tmp_path))


def test_the_hub_gives_what_the_folder_gives(hub, tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path, safe_serialization="both")
    hub.add("model", "ada/net", tmp_path)
    here, there = (ha.analyze(place, photographs(), num_samples=8) for place in (tmp_path, "ada/net"))
    assert there.rows == here.rows
    assert not [line for line in hub.log if line.path.endswith(".bin")], "one file of weights is enough"


def test_untrained_it_is_drawn_as_timm_draws_it(tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path)
    torch.manual_seed(3)
    drawn = timm.create_model("test_resnet")
    usual = {"num_samples": 8, "progress": False}
    untrained = ha.analyze(tmp_path, photographs(), random_weights=True, seed=3, **usual)
    by_hand = ha.analyze(drawn, photographs(), seed=3, **usual)
    assert [row.affinity_score for row in untrained.rows] == [row.affinity_score for row in by_hand.rows]
    assert untrained.metadata["model"]["initialised_by"] == f"timm {timm.__version__}"


def test_also_inside_transformers(tmp_path: Path) -> None:
    """transformers would draw every convolution with deviation 0.02."""
    config = TimmWrapperConfig(architecture="test_resnet", num_labels=5)
    TimmWrapperForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    options = Options(random_weights=True, seed=3)
    checkpoint = load_checkpoint(locate_model(tmp_path, options), None, options)
    torch.manual_seed(3)
    drawn = timm.create_model("test_resnet", num_classes=5)
    assert type(checkpoint.module) is TimmWrapperForImageClassification
    weights = checkpoint.module.timm_model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in drawn.state_dict().items())
    assert f"parts of timm {timm.__version__}" in checkpoint.metadata["initialised_by"]


def test_what_is_missing_or_unknown_is_a_sentence(tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"has no file of weights; expected one such as model\.safetensors"):
        ha.analyze(tmp_path, photographs())
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "no_such_net", "num_classes": 3}))
    for call in (lambda: ha.inspect(tmp_path), lambda: ha.analyze(tmp_path, "noise", random_weights=True)):
        with pytest.raises(ModelError, match="Unknown model"):
            call()


def test_five_channels_take_tensors_and_no_images(tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model("test_resnet", in_chans=5), tmp_path)
    with pytest.raises(
        InputError, match=r"ResNet takes 5 channels, which no image has.*Pass tensors of its inputs"
    ):
        ha.analyze(tmp_path, photographs(), num_samples=8, progress=False)
    tensors = list(torch.randn(8, 5, 64, 64))
    signature = ha.analyze(tmp_path, tensors, num_samples=8, progress=False)
    assert len(signature.rows) == len(ha.inspect(tmp_path).rows) == 12
