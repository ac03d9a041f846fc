"""Checkpoints of transformers that are no plain classifiers with everything beside them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, InputError, ModelError, NoActivationError
from hf_affscore.score import affinity_score
from tests.models.by_hand import photographs
from tests.models.networks import (
    SIZE,
    VISION,
    blip,
    donut,
    fast,
    idefics3,
    llava,
    llava_next,
    llava_onevision,
    qwen2,
    qwen2_5,
    trocr,
)

USUAL = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}


def analyzed(folder: Path, **options: object) -> ha.Signature:
    """The signature of a folder; inspect has to list the same rows."""
    signature = ha.analyze(folder, photographs(), **USUAL, **options)
    chosen = {name: options[name] for name in ("trust_remote_code", "loader") if name in options}
    inspected = ha.inspect(folder, **chosen)
    assert [(row.module, row.dim) for row in inspected.rows] == [
        (row.module, row.dim) for row in signature.rows
    ]
    assert np.isfinite(signature.scores).all()
    return signature


#: Models that write about images: the part that runs.
WRITERS: dict[Callable[[], tuple[hf.PreTrainedModel, object]], str] = {
    blip: "vision_model",
    trocr: "encoder",
    donut: "encoder",
    llava: "get_image_features",
    llava_onevision: "model.vision_tower",
    llava_next: "model.vision_tower",
    idefics3: "get_image_features",
}


@pytest.mark.parametrize("kind", WRITERS, ids=lambda kind: kind.__name__)
def test_of_what_writes_text_the_image_side_runs(kind, tmp_path: Path) -> None:
    model, processor = kind()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    signature = analyzed(tmp_path)
    assert signature.metadata["model"]["runs"] == WRITERS[kind]
    assert len(signature.rows) >= 2
    assert not any("text" in row.module or "decoder" in row.module for row in signature.rows)


@pytest.mark.parametrize("kind", [qwen2, qwen2_5], ids=lambda kind: kind.__name__)
def test_where_patches_are_packed_images_run_one_by_one(kind, tmp_path: Path) -> None:
    """Against hooks on the tower, which gets one image at a time."""
    model, processor = kind()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    images = [image.resize((48, 32)) for image in photographs()]
    signature = ha.analyze(tmp_path, images, shuffle=False, **USUAL)
    assert signature.metadata["model"]["runs"] == "get_image_features"
    tower = type(model).from_pretrained(tmp_path).eval().model.visual
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

    def keep(name: str, taken: tuple[torch.Tensor, ...], given: torch.Tensor) -> None:
        rows = found.setdefault(name, [])
        rows.append(
            (taken[0].mean(-1).numpy(), given.mean(-1).numpy())
        )  # the paper's pooling of (patches, d)

    for name, part in tower.named_modules():
        if type(part).__name__ in ("QuickGELUActivation", "SiLUActivation", "GELU"):
            part.register_forward_hook(lambda _, taken, given, name=name: keep(name, taken, given))
    with torch.no_grad():
        for image in images:
            made = processor(images=[image], return_tensors="pt")
            tower(made["pixel_values"], grid_thw=made["image_grid_thw"])
    assert [row.module for row in signature.rows] == [f"model.visual.{name}" for name in found]
    for row, pairs in zip(signature.rows, found.values(), strict=True):
        taken, given = (np.stack(side).astype(np.float64) for side in zip(*pairs, strict=True))
        assert row.dim == taken.shape[1]
        assert row.affinity_score == pytest.approx(affinity_score(taken, given), abs=1e-6)  # float32 rows
    inspected = ha.inspect(tmp_path)
    assert [row.module for row in inspected.rows] == [row.module for row in signature.rows]
    assert ha.analyze(tmp_path, images, shuffle=False, **{**USUAL, "batch_size": 1}).rows == signature.rows


def test_a_module_that_records_hidden_states_is_left_as_it_was() -> None:
    """transformers adds hooks that record them in the first pass; it must not add them again in a later one."""
    torch.manual_seed(0)
    model, processor = llava()
    model.eval()
    fresh = copy.deepcopy(model)
    first, second = (ha.analyze(model, photographs(), processor=processor, **USUAL) for _ in range(2))
    assert first.rows == second.rows
    pixels = torch.randn(2, 3, 32, 32)
    tower, expected = (each.model.vision_tower for each in (model, fresh))
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
        assert len(states) == len(expected(pixels, output_hidden_states=True).hidden_states) == 3


def test_packed_patches_of_images_of_several_sizes(tmp_path: Path) -> None:
    model, processor = qwen2()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(NoActivationError, match="pass images of one size, or pooling='channels'"):
        ha.analyze(tmp_path, photographs(), **USUAL)
    assert len(ha.analyze(tmp_path, photographs(), pooling="channels", **USUAL).rows) == 3
    with pytest.raises(InputError, match="takes the patches of images; noise cannot be made for it"):
        ha.analyze(tmp_path, "noise", **USUAL)


def videomae(folder: Path) -> None:
    config = hf.VideoMAEConfig(**VISION, num_frames=4, tubelet_size=2)
    hf.VideoMAEForVideoClassification(config).save_pretrained(folder)


@pytest.mark.parametrize("processor", [hf.VideoMAEImageProcessor, hf.ViTImageProcessor, None])
def test_a_video_model_takes_clips_or_repeats_an_image(processor, tmp_path: Path) -> None:
    videomae(tmp_path)
    if processor is hf.ViTImageProcessor:
        processor(size=SIZE).save_pretrained(tmp_path)
    elif processor is not None:
        processor(size={"shortest_edge": 32}, crop_size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"is a video model: it takes clips of 4 frames.*--repeat-frames"):
        ha.analyze(tmp_path, photographs(), **USUAL)
    signature = analyzed(tmp_path, repeat_frames=True)
    assert [row.activation for row in signature.rows] == ["GELUActivation"] * 2
    clips = list(torch.randn(8, 4, 3, 32, 32))
    moving = ha.analyze(tmp_path, clips, **USUAL)
    assert [row.module for row in moving.rows] == [row.module for row in signature.rows]
    assert ha.analyze(tmp_path, "noise", **USUAL).rows[0].num_samples == 8


CODE = """
import torch
from transformers import PreTrainedModel, PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "tiny-remote"


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.act = torch.nn.ReLU()
        self.post_init()

    def forward(self, {arguments}):
        return self.act(self.conv({first}))
"""


def remote(folder: Path, arguments: str, key: str = "AutoModelForImageSegmentation") -> None:
    """A checkpoint with code of its own."""
    first = arguments.split(",")[0].split(":")[0].split("=")[0]
    (folder / "tiny.py").write_text(CODE.format(arguments=arguments, first=first))
    auto_map = {"AutoConfig": "tiny.TinyConfig", key: "tiny.TinyModel"}
    config = {"model_type": "tiny-remote", "architectures": ["TinyModel"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(3, 8, 3)
    torch.save(
        {"conv.weight": conv.weight.detach(), "conv.bias": conv.bias.detach()}, folder / "pytorch_model.bin"
    )
    hf.ViTImageProcessor(size=SIZE).save_pretrained(folder)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ("x", "AutoModelForImageSegmentation"),
        ("x: torch.Tensor, labels=None", "AutoModel"),
        ("images", "AutoModelForImageClassification"),
        ("sample=None", "AutoModelForObjectDetection"),
        ("pixel_values=None", "AutoModelForSomethingNew"),
        ("pixel_values, labels=None", "AutoBackbone"),
    ],
)
def test_code_of_the_checkpoint_takes_pixels_whatever_it_calls_them(
    arguments: str, key: str, tmp_path: Path
) -> None:
    remote(tmp_path, arguments, key)
    signature = analyzed(tmp_path, trust_remote_code=True)
    assert [row.module for row in signature.rows] == ["act"]
    processor = hf.ViTImageProcessor(size=SIZE)
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    by_hand = ha.analyze(module, photographs(), processor=processor, **USUAL)
    assert signature.rows[0].affinity_score == by_hand.rows[0].affinity_score


def test_code_is_not_run_without_being_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote(tmp_path, "x")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    for call in (
        lambda: ha.analyze(tmp_path, photographs()),
        lambda: ha.analyze(tmp_path, photographs(), random_weights=True),
        lambda: ha.inspect(tmp_path),
    ):
        with pytest.raises(ModelError, match=r"comes with code of its own.*--trust-remote-code"):
            call()
    untrained = ha.analyze(tmp_path, photographs(), random_weights=True, trust_remote_code=True, **USUAL)
    assert untrained.metadata["model"]["class"] == "TinyModel"


def test_code_with_two_inputs_names_them(tmp_path: Path) -> None:
    remote(tmp_path, "x, other")
    with pytest.raises(ModelError, match="TinyModel cannot run on images alone: it needs other, x"):
        ha.analyze(tmp_path, photographs(), trust_remote_code=True)


def test_without_processor_the_one_of_the_configuration(tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    with pytest.warns(AffscoreWarning, match="has no image processor: ViTImageProcessor(Fast)? at 32 x 32"):
        signature = analyzed(tmp_path)
    assert signature.metadata["preprocessing"]["class"] == fast("ViTImageProcessor").__name__
    module = hf.ViTForImageClassification.from_pretrained(tmp_path)
    by_hand = ha.analyze(module, photographs(), processor=fast("ViTImageProcessor")(size=SIZE), **USUAL)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]


def test_clip_and_convnext_get_their_sizes_too(tmp_path: Path) -> None:
    hf.CLIPVisionModel(hf.CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    with pytest.warns(AffscoreWarning, match="CLIPImageProcessor(Fast)? at 32 x 32"):
        settings = analyzed(tmp_path).metadata["preprocessing"]["settings"]
    assert settings["crop_size"]["height"] == settings["size"]["shortest_edge"] == 32


@pytest.mark.parametrize("before", ["module.", "_orig_mod.", "model."])
def test_weights_of_which_none_has_a_name_of_the_networks(before: str, tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {f"{before}{name}": value for name, value in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=f"None of the checkpoint's weights .*{before}classifier.bias and the"
    ):
        ha.analyze(tmp_path, "noise", **USUAL)


def test_weights_of_another_shape(tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION, num_labels=7)).save_pretrained(tmp_path)
    hf.ViTConfig(**VISION, num_labels=3).save_pretrained(tmp_path)
    sentence = (
        r"classifier.bias has (shape \(7,\)|another shape), and ViTForImageClassification .* has \(3,\)"
    )
    with pytest.raises(ModelError, match=sentence):
        ha.analyze(tmp_path, "noise", **USUAL)


@pytest.mark.parametrize("setting", ["hidden_act"])
def test_an_activation_that_nobody_knows_is_named(setting: str, tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, setting: "nope"}))
    for call in (lambda: ha.analyze(tmp_path, "noise"), lambda: ha.inspect(tmp_path)):
        with pytest.raises(ModelError, match=f"ViTConfig has {setting} = 'nope', which transformers"):
            call()


def test_a_local_folder_does_not_ask_the_hub(hub, tmp_path: Path) -> None:
    """A detector whose configuration names a backbone of timm's would fetch it, although all weights are here."""
    layers = {"encoder_layers": 1, "decoder_layers": 1, "num_queries": 5, "d_model": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    backbone = {"backbone": "resnet18", "use_timm_backbone": True, "use_pretrained_backbone": False}
    config = hf.DetrConfig(**backbone, **layers, **heads, **widths)
    hf.DetrForObjectDetection(config).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    if stored.get("backbone_config"):  # transformers 4 has one only for backbones of its own
        stored["backbone_config"]["use_pretrained_backbone"] = True
    (tmp_path / "config.json").write_text(json.dumps({**stored, "use_pretrained_backbone": True}))
    hf.DetrImageProcessor(size=SIZE).save_pretrained(tmp_path)
    hub.log.clear()
    analyzed(tmp_path)
    ha.analyze(tmp_path, photographs(), random_weights=True, **USUAL)
    assert not hub.log


def test_a_gated_model_says_so(hub, tmp_path: Path) -> None:
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path)
    hub.add("model", "ada/gated", tmp_path, gated=True)
    for call in (lambda: ha.analyze("ada/gated", "noise"), lambda: ha.inspect("ada/gated")):
        with pytest.raises(ModelError, match=r"'ada/gated' is gated: accept its terms"):
            call()


def test_code_that_lies_in_another_repository_is_pinned_and_recorded(hub, tmp_path: Path) -> None:
    remote(tmp_path, "x")
    code = hub.add("model", "grace/code", {"tiny.py": (tmp_path / "tiny.py").read_bytes()}).head("main").oid
    (tmp_path / "tiny.py").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {key: f"grace/code--{name}" for key, name in config["auto_map"].items()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    hub.add("model", "ada/elsewhere", tmp_path)
    signature = ha.analyze("ada/elsewhere", photographs(), trust_remote_code=True, **USUAL)
    assert [row.module for row in signature.rows] == ["act"]
    assert signature.metadata["model"]["code"] == {"grace/code": code}


def test_what_was_used_before_loads_without_a_connection(hub, tmp_path: Path) -> None:
    """In a process of its own, since the client reads HF_HUB_OFFLINE when it is imported."""
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(tmp_path / "net")
    hf.ViTImageProcessor(size=SIZE).save_pretrained(tmp_path / "net")
    hub.add("model", "ada/net", tmp_path / "net")
    code = """
import torch, hf_affscore as ha
images = list(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
signature = ha.analyze("ada/net", images, num_samples=8, progress=False)
print(signature.metadata["model"]["library"], list(signature.scores))
"""
    there = hub.run("-c", code, home=tmp_path)
    here = hub.run("-c", code, home=tmp_path, settings={"HF_HUB_OFFLINE": "1"})
    assert there.returncode == here.returncode == 0, here.stderr
    assert here.stdout == there.stdout
    assert here.stdout.startswith("transformers ")
