"""Checkpoints that other libraries write, from each library itself; in CI none of the test extra may be missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, ModelError
from hf_affscore.models.libraries.by_hand import HANDS
from tests.models.by_hand import check, of_the_test_extra, photographs
from tests.versions import is_older

USUAL = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}
VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
SIZE = {"height": 32, "width": 32}


def library(signature: ha.Signature) -> tuple[str, str]:
    model = signature.metadata["model"]
    assert model["library_version"]
    return model["library"], model["class"]


def test_open_clip(tmp_path: Path) -> None:
    open_clip = of_the_test_extra("open_clip")
    from open_clip.push_to_hf_hub import save_for_hf

    vision = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    tokenizer = type("NoTokenizer", (), {"save_pretrained": lambda *_: None})()
    save_for_hf(open_clip.create_model("tiny-clip"), tokenizer, config, tmp_path / "net")
    module, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'net'}")
    signature = check(tmp_path / "net", module, transform, run=module.encode_image)
    assert library(signature) == ("open_clip", "CLIP")
    assert signature.metadata["model"]["runs"] == "encode_image"
    assert [row.activation for row in signature.rows] == ["GELU", "GELU"]
    untrained = ha.analyze(tmp_path / "net", photographs(), random_weights=True, **USUAL)
    assert untrained.metadata["model"]["initialised_by"] == f"open_clip {open_clip.__version__}"


def test_segmentation_models(tmp_path: Path) -> None:
    smp = of_the_test_extra("segmentation_models_pytorch")
    torch.manual_seed(0)
    smp.Unet("resnet18", encoder_weights=None, classes=2, activation="sigmoid").save_pretrained(tmp_path)
    module = smp.from_pretrained(tmp_path)
    signature = check(tmp_path, module, "imagenet")
    assert library(signature) == ("segmentation-models-pytorch", "Unet")
    assert len(signature.rows) == 28


def autoencoder(diffusers: Any) -> Any:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return diffusers.AutoencoderKL(**blocks, block_out_channels=(8, 16), norm_num_groups=4, sample_size=32)


def prepared(diffusers: Any) -> Any:
    from diffusers.image_processor import VaeImageProcessor

    return lambda image: VaeImageProcessor().preprocess(image, height=32, width=32)[0]


def test_an_autoencoder_of_diffusers(tmp_path: Path) -> None:
    diffusers = of_the_test_extra("diffusers")
    torch.manual_seed(0)
    autoencoder(diffusers).save_pretrained(tmp_path)
    module = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    signature = check(tmp_path, module, prepared(diffusers))
    assert library(signature) == ("diffusers", "AutoencoderKL")


def without(file: Path, lost: str) -> None:
    """Write a file of weights again without those whose names have a word in them."""
    left = {name: value for name, value in load_file(file).items() if lost not in name}
    save_file(left, file, metadata={"format": "pt"})


def test_weights_that_an_autoencoder_lacks(tmp_path: Path) -> None:
    autoencoder(of_the_test_extra("diffusers")).save_pretrained(tmp_path)
    without(tmp_path / "diffusion_pytorch_model.safetensors", "encoder.conv_in")
    with pytest.warns(
        AffscoreWarning, match="lacks 2 weights, .* at random: encoder.conv_in.bias, encoder.conv"
    ):
        ha.analyze(tmp_path, photographs(), **USUAL)


def test_weights_that_a_u_net_lacks(tmp_path: Path) -> None:
    smp = of_the_test_extra("segmentation_models_pytorch")
    smp.Unet("resnet18", encoder_weights=None).save_pretrained(tmp_path)
    without(tmp_path / "model.safetensors", "encoder.layer1")
    with pytest.raises(ModelError, match=r"could not be loaded: .*Missing key"):
        ha.analyze(tmp_path, photographs(), processor="imagenet", **USUAL)


def denoiser(diffusers: Any) -> Any:
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    shape = {"sample_size": 32, "block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    return diffusers.UNet2DModel(**blocks, **shape)


def test_a_denoiser_of_diffusers_at_a_step_of_the_noise(tmp_path: Path) -> None:
    diffusers = of_the_test_extra("diffusers")
    torch.manual_seed(0)
    pipeline = diffusers.DDPMPipeline(denoiser(diffusers), diffusers.DDPMScheduler())
    pipeline.save_pretrained(tmp_path)
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path / "unet")

    class AtStep(nn.Module):
        def __init__(self, step: int) -> None:
            super().__init__()
            self.unet, self.step = unet, step

        def forward(self, x: torch.Tensor) -> Any:
            return self.unet(x, self.step)

    for step in (None, 300):
        signature = ha.analyze(tmp_path, photographs(), timestep=step, **USUAL)
        by_hand = ha.analyze(AtStep(step or 0), photographs(), processor=prepared(diffusers), **USUAL)
        assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]
        assert signature.metadata["model"]["timestep"] == (step or 0)
        assert signature.metadata["model"]["part"] == "unet"
    assert len(ha.inspect(tmp_path).rows) == len(signature.rows)


def test_a_pipeline_runs_its_autoencoder_and_a_denoiser_of_latents_says_why_not(tmp_path: Path) -> None:
    diffusers = of_the_test_extra("diffusers")
    autoencoder(diffusers).save_pretrained(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    assert ha.analyze(tmp_path, photographs(), **USUAL).metadata["model"]["part"] == "vae"
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    unet.save_pretrained(tmp_path / "alone")
    with pytest.raises(ModelError, match="UNet2DConditionModel needs encoder_hidden_states beside pixels"):
        ha.analyze(tmp_path / "alone", photographs(), **USUAL)


def test_sentence_transformers_of_images(tmp_path: Path) -> None:
    """As ``clip-ViT-B-32`` is laid out: the network lies in a folder that ``modules.json`` names."""
    torch.manual_seed(0)
    text = {**{name: VISION[name] for name in list(VISION)[:4]}, "vocab_size": 64}
    network = tmp_path / "0_CLIPModel"
    hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=VISION)).save_pretrained(network)
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    processor.save_pretrained(network)
    kind = "sentence_transformers.models.CLIPModel"
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    signature = check(tmp_path, hf.CLIPModel.from_pretrained(network), processor)
    assert library(signature) == ("sentence-transformers", "CLIPModel")
    assert signature.metadata["model"]["runs"] == "get_image_features"


@pytest.mark.parametrize("base", ["transformers", "timm"])
def test_an_adapter_of_peft(base: str, tmp_path: Path) -> None:
    peft = of_the_test_extra("peft")
    torch.manual_seed(0)
    if base == "timm":
        timm.models.save_for_hf(timm.create_model("test_vit"), tmp_path / "base")
        module, processor, targets = (
            timm.create_model(f"local-dir:{tmp_path / 'base'}", pretrained=True),
            None,
            ["fc1"],
        )
    else:
        hf.ViTModel(hf.ViTConfig(**VISION)).save_pretrained(tmp_path / "base")
        names = ["query", "intermediate.dense"] if is_older("transformers", "5") else ["q_proj", "fc1"]
        processor = hf.ViTImageProcessor(size=SIZE)
        processor.save_pretrained(tmp_path / "base")
        module, targets = hf.ViTModel.from_pretrained(tmp_path / "base"), names
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    adapted = peft.get_peft_model(module, config)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    signature = ha.analyze(tmp_path / "adapter", photographs(), **USUAL)
    by_hand = ha.analyze(adapted, photographs(), processor=processor, **USUAL)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]
    bare = ha.analyze(tmp_path / "base", photographs(), **USUAL)
    assert signature.rows[0].affinity_score != bare.rows[0].affinity_score
    assert signature.metadata["model"]["base_model"]["revision"] == bare.metadata["model"]["revision"]
    assert "missing_weights" not in signature.metadata["model"]
    without(tmp_path / "adapter" / "adapter_model.safetensors", ".fc1.lora_A" if base == "timm" else ".1.")
    with pytest.warns(AffscoreWarning, match="adapter lacks .* weights, .* at random: base_model.model"):
        ha.analyze(tmp_path / "adapter", photographs(), **USUAL)
    assert len(ha.inspect(tmp_path / "adapter").rows) == len(signature.rows)


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GELU(), nn.Conv2d(8, 4, 3), nn.SiLU())
    return nn.Sequential(*layers).eval()


def transform_at_32(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((32, 32)))).permute(2, 0, 1).float() / 255


def test_a_program_of_torch_export(tmp_path: Path) -> None:
    network, example = convolutions(), torch.randn(2, 3, 32, 32)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ModelError, match=r"model\.pt2 .* can run code.*--trust-remote-code"):
        ha.analyze(tmp_path, photographs(), **USUAL)
    module = torch.export.load(tmp_path / "model.pt2").module()
    module.image_size = (32, 32)
    options = {"processor": "imagenet", **USUAL}
    signature = ha.analyze(tmp_path, photographs(), trust_remote_code=True, **options)
    by_hand = ha.analyze(module, photographs(), **options)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]
    assert [row.activation for row in signature.rows] == ["relu", "gelu", "silu"]
    assert len(ha.inspect(tmp_path, trust_remote_code=True).rows) == 3


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("batch_size", [3, 8])
def test_a_program_for_one_size_of_batch_runs_with_that(size: int, batch_size: int, tmp_path: Path) -> None:
    """Ten images in batches of four: the last is filled up, and its fillers are not scored."""
    network = convolutions()
    exported = torch.export.export(network, (torch.randn(size, 3, 32, 32),))
    torch.export.save(exported, tmp_path / "model.pt2")
    usual = {"num_samples": 10, "batch_size": batch_size, "cache": False, "progress": False}
    sides: dict[str, Any] = {"processor": transform_at_32, "sparsity_samples": 5}
    signature = ha.analyze(tmp_path, photographs(10), trust_remote_code=True, **usual, **sides)
    dynamic = ha.analyze(network, photographs(10), **usual, **sides)
    assert [row.activation for row in signature.rows] == ["relu", "gelu", "silu"]
    assert [row.num_samples for row in signature.rows] == [10] * 3
    for row, other in zip(signature.rows, dynamic.rows, strict=True):
        assert row.affinity_score == pytest.approx(
            other.affinity_score, abs=1e-5
        )  # other batches round otherwise
        assert row.sparsity_post == pytest.approx(other.sparsity_post, abs=1e-4)
    model = signature.metadata["model"]
    assert (model["deterministic"], model["batch_dependent"]) == (True, False)
    assert len(ha.inspect(tmp_path, trust_remote_code=True).rows) == 3


def test_an_onnx_graph(tmp_path: Path) -> None:
    onnx2torch = of_the_test_extra("onnx2torch")
    layers = (
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Sigmoid(),
        nn.Conv2d(8, 4, 3),
        nn.Hardswish(),
    )
    axes = {"x": {0: "batch"}}
    torch.onnx.export(
        nn.Sequential(*layers).eval(),
        (torch.randn(2, 3, 32, 32),),
        tmp_path / "model.onnx",
        dynamo=False,
        dynamic_axes=axes,
        input_names=["x"],
    )
    module = onnx2torch.convert(tmp_path / "model.onnx")
    module.image_size = (32, 32)
    signature = check(tmp_path, module, "imagenet")
    assert library(signature) == ("onnx", "GraphModule")
    assert [row.activation for row in signature.rows] == ["ReLU", "Sigmoid", "Hardswish"]


def test_an_onnx_graph_for_one_image(tmp_path: Path) -> None:
    """As most are exported: it reshapes to the one image that it was given."""
    of_the_test_extra("onnx2torch")

    class Reshaping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 30 * 30, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.act(self.conv(x))
            return nn.functional.gelu(self.head(x.reshape(1, -1)))

    torch.manual_seed(0)
    network, example, file = Reshaping().eval(), (torch.randn(1, 3, 32, 32),), tmp_path / "model.onnx"
    torch.onnx.export(network, example, file, dynamo=False, opset_version=20)
    with pytest.raises(ModelError, match=r"onnx2torch cannot convert .*opset_version=17"):
        ha.analyze(tmp_path, photographs(), processor=transform_at_32, **USUAL)
    torch.onnx.export(network, example, file, dynamo=False, opset_version=17)
    signature = ha.analyze(tmp_path, photographs(), processor=transform_at_32, **USUAL)
    assert [row.dim for row in signature.rows][:1] == [4]
    assert signature.rows[0].num_samples == 8
    assert [row.module for row in ha.inspect(tmp_path).rows] == [row.module for row in signature.rows]


def test_a_pickled_module_only_if_it_is_trusted(tmp_path: Path) -> None:
    torch.save({"model": convolutions().half(), "epoch": 3}, tmp_path / "best.pt")
    with pytest.raises(ModelError, match=r"best\.pt .* is a pickle, and loading it can run any code"):
        ha.analyze(tmp_path, photographs(), **USUAL)
    with pytest.raises(ModelError, match="is a pickle"):
        ha.inspect(tmp_path)
    options = {"processor": "imagenet", **USUAL}
    signature = ha.analyze(tmp_path, photographs(), trust_remote_code=True, **options)
    by_hand = ha.analyze(convolutions().half().float(), photographs(), **options)
    assert np.array_equal(signature.scores, by_hand.scores)
    torch.save(convolutions().state_dict(), tmp_path / "best.pt")
    with pytest.raises(ModelError, match=r"best\.pt holds a OrderedDict and no torch\.nn\.Module"):
        ha.analyze(tmp_path, photographs(), trust_remote_code=True, **USUAL)


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(tmp_path: Path, monkeypatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "open_clip" else real(name, *more)
    )
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    for call in (lambda: ha.analyze(tmp_path, "noise"), lambda: ha.inspect(tmp_path)):
        with pytest.raises(
            ModelError,
            match=r"of open_clip, which is not installed\. Install it: pip install open_clip_torch",
        ):
            call()


def test_where_two_libraries_could_the_card_decides(tmp_path: Path) -> None:
    of_the_test_extra("open_clip")
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    assert ha.analyze(tmp_path, photographs(), **USUAL).metadata["model"]["library"] == "transformers"
    (tmp_path / "README.md").write_text("---\nlibrary_name: open_clip\n---\n")
    with pytest.raises(ModelError, match="could not be loaded"):
        ha.analyze(tmp_path, photographs(), **USUAL)


def test_nobody_knows_it(tmp_path: Path) -> None:
    (tmp_path / "weights.gguf").write_bytes(b"")
    (tmp_path / "README.md").write_text("---\nlibrary_name: gguf\n---\n")
    for call in (lambda: ha.analyze(tmp_path, "noise"), lambda: ha.inspect(tmp_path)):
        with pytest.raises(
            ModelError, match=r"belongs to no known library \(its card names gguf\).*--loader"
        ):
            call()


def test_what_is_loaded_by_hand_is_named_with_its_line(tmp_path: Path) -> None:
    for written, line in (
        (
            {"config.json": '{"module": "keras_hub.src.models", "class_name": "X"}'},
            "keras_hub.models.Backbone",
        ),
        ({"config.json": '{"arch": "vit_b", "task": "classification"}'}, "doctr.models.from_hub"),
        ({"README.md": "---\nlibrary_name: rf-detr\n---\n", "nano.pth": ""}, "rfdetr.RFDETRNano"),
    ):
        folder = tmp_path / line
        folder.mkdir()
        for name, text in written.items():
            (folder / name).write_text(text)
        for call in (
            lambda folder=folder: ha.analyze(folder, "noise"),
            lambda folder=folder: ha.inspect(folder),
        ):
            with pytest.raises(ModelError, match=f"is loaded by hand .*module = {line}"):
                call()


@pytest.mark.library("keras_hub")
def test_the_line_for_keras_hub_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras_hub

    place = str(tmp_path)
    filters = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7], "stackwise_num_filters": [64, 64]}
    blocks = {"stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2], "block_type": "basic_block"}
    keras_hub.models.ResNetBackbone(**filters, **blocks, image_shape=(32, 32, 3)).save_to_preset(place)
    module = eval(HANDS["keras-hub"].line, {"keras_hub": keras_hub, "place": place})

    def channels_last(image: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(image.resize((32, 32)))).float() / 255

    signature = ha.analyze(module, photographs(), processor=channels_last, **USUAL)
    assert [row.activation for row in signature.rows] == ["relu"] * 5
    with pytest.raises(ModelError, match="is a checkpoint of keras-hub, which is loaded by hand"):
        ha.analyze(tmp_path, photographs(), **USUAL)


@pytest.mark.library("rfdetr")
def test_the_line_for_rf_detr_holds(tmp_path: Path) -> None:
    import rfdetr

    network = rfdetr.RFDETRNano(pretrain_weights=None, device="cpu").model.model
    place = str(tmp_path / "weights.pth")
    torch.save({"model": network.state_dict(), "args": {"class_names": ["a"]}}, place)
    module = eval(HANDS["rfdetr"].line, {"rfdetr": rfdetr, "place": place})
    signature = ha.analyze(
        module, list(torch.randn(4, 3, 384, 384)), num_samples=4, batch_size=2, progress=False
    )
    assert len(signature.rows) >= 10


@pytest.mark.library("doctr")
def test_the_line_for_doctr_holds(hub: Any, tmp_path: Path) -> None:
    import doctr.models as doctr
    from doctr.models.factory.hub import _save_model_and_config_for_hf_hub

    network = doctr.classification.mobilenet_v3_small(pretrained=False)
    _save_model_and_config_for_hf_hub(
        network, str(tmp_path), arch="mobilenet_v3_small", task="classification"
    )
    hub.add("model", "ada/reader", tmp_path)
    import doctr as package

    module = eval(HANDS["doctr"].line, {"doctr": package, "place": "ada/reader"})
    assert len(ha.analyze(module, list(torch.randn(8, 3, 32, 32)), **USUAL).rows) > 10
    with pytest.raises(ModelError, match="is a checkpoint of doctr, which is loaded by hand"):
        ha.analyze("ada/reader", photographs(), **USUAL)
