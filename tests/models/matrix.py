"""Every kind of checkpoint, written by its own library in this run, inspected and analysed: a table.

``python -m tests.models.matrix`` writes docs/models.md (``make models``). A kind whose library is not installed is
listed as such. The independent count is that of ``tests/capture/coverage.py``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import transformers as hf
from torch import nn

import hf_affscore as ha
from hf_affscore.models.libraries.by_hand import HANDS
from hf_affscore.models.loading import load_checkpoint, locate_model
from hf_affscore.options import Options
from tests.capture.coverage import Count
from tests.models.by_hand import photographs

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {**TINY, "image_size": 32, "patch_size": 8}
TEXT = {**TINY, "vocab_size": 64, "max_position_embeddings": 64}
SIZE = {"height": 32, "width": 32}


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint.

    Attributes:
        library: The library that writes it, as the registry calls it.
        name: What it is.
        distribution: What pip calls the library.
        package: What is imported to write one.
        write: Writes one into a folder, and returns the options that loading it takes.
    """

    library: str
    name: str
    distribution: str
    package: str
    write: Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """What became of one kind."""

    kind: Kind
    inspected: str
    analysed: str
    counted: str

    @property
    def is_right(self) -> bool:
        """Whether both saw the same rows, and all that PyTorch counted."""
        return (
            self.inspected.split()[0] == self.analysed.split()[0]
            and self.counted == self.analysed.split()[-1]
        )


def _timm(**arguments: Any) -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        timm.models.save_for_hf(timm.create_model("test_resnet", **arguments), folder)
        return {}

    return write


def _timm_features(folder: Path) -> dict[str, Any]:
    _timm(num_classes=0)(folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] = {"features_only": True}
    (folder / "config.json").write_text(json.dumps(config))
    return {}


def _timm_flat(folder: Path) -> dict[str, Any]:
    _timm()(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", **config["pretrained_cfg"]})
    )
    return {}


def _saved(make: Callable[[], Any], processor: Any = None) -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        make().save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)
        return {}

    return write


def _captioner() -> Any:
    text = {**TEXT, "encoder_hidden_size": 16}
    return hf.BlipForConditionalGeneration(hf.BlipConfig(vision_config=VISION, text_config=text))


def _clip() -> Any:
    return hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8))


def _reader() -> Any:
    decoder = hf.TrOCRConfig(
        vocab_size=64, d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32
    )
    encoder = hf.ViTConfig(**VISION)
    return hf.VisionEncoderDecoderModel(
        hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    )


def _video(folder: Path) -> dict[str, Any]:
    config = hf.VideoMAEConfig(**VISION, num_frames=4, tubelet_size=2)
    hf.VideoMAEForVideoClassification(config).save_pretrained(folder)
    hf.VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE).save_pretrained(folder)
    return {"repeat_frames": True}


def _open_clip(folder: Path) -> dict[str, Any]:
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    vision = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (folder / "matrix-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "matrix-clip.json")
    tokenizer: Any = type("NoTokenizer", (), {"save_pretrained": lambda *_: None})()
    save_for_hf(open_clip.create_model("matrix-clip"), tokenizer, config, str(folder))
    return {}


def _segmentation(folder: Path) -> dict[str, Any]:
    import segmentation_models_pytorch as smp

    smp.Unet("resnet18", encoder_weights=None, classes=2).save_pretrained(folder)
    return {"processor": "imagenet"}


def _autoencoder(folder: Path) -> dict[str, Any]:
    import diffusers

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    shape = {"block_out_channels": (8, 16), "norm_num_groups": 4, "sample_size": 32}
    diffusers.AutoencoderKL(**blocks, **shape).save_pretrained(folder)
    return {}


def _denoiser(folder: Path) -> dict[str, Any]:
    import diffusers

    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    shape = {"sample_size": 32, "block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    unet = diffusers.UNet2DModel(**blocks, **shape)
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder)
    return {"timestep": 100}


def _sentences(folder: Path) -> dict[str, Any]:
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    _saved(_clip, processor)(folder / "0_CLIPModel")
    kind = "sentence_transformers.models.CLIPModel"
    (folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}])
    )
    return {}


def _adapter(folder: Path) -> dict[str, Any]:
    import peft

    _saved(lambda: hf.ViTModel(hf.ViTConfig(**VISION)), hf.ViTImageProcessor(size=SIZE))(
        folder.parent / "base"
    )
    module = hf.ViTModel.from_pretrained(folder.parent / "base")
    adapted = peft.get_peft_model(module, peft.LoraConfig(r=2, target_modules=["fc1"]))
    adapted.peft_config["default"].base_model_name_or_path = str(folder.parent / "base")
    adapted.save_pretrained(folder)
    return {}


def _layers() -> nn.Module:
    layers = (
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Sigmoid(),
        nn.Conv2d(8, 4, 3),
        nn.Hardswish(),
    )
    return nn.Sequential(*layers).eval()


def _program(folder: Path) -> dict[str, Any]:
    example, dynamic = torch.randn(2, 3, 32, 32), {0: torch.export.Dim("batch")}
    torch.export.save(
        torch.export.export(_layers(), (example,), dynamic_shapes=(dynamic,)), folder / "model.pt2"
    )
    return {"trust_remote_code": True, "processor": "imagenet"}


def _graph(folder: Path) -> dict[str, Any]:
    example, axes = torch.randn(2, 3, 32, 32), {"x": {0: "batch"}}
    file = folder / "model.onnx"
    torch.onnx.export(_layers(), (example,), file, dynamo=False, dynamic_axes=axes, input_names=["x"])
    return {"processor": "imagenet"}


def _pickle(folder: Path) -> dict[str, Any]:
    torch.save(_layers(), folder / "model.pt")
    return {"trust_remote_code": True, "processor": "imagenet"}


def _yolo(folder: Path) -> dict[str, Any]:
    from ultralytics import YOLO

    YOLO("yolov8n.yaml").save(folder / "best.pt")
    return {"trust_remote_code": True, "processor": "imagenet"}


def _kinds() -> Iterator[Kind]:
    for name, write in {
        "classifier": _timm(),
        "three classes": _timm(num_classes=3),
        "without a head": _timm(num_classes=0),
        "one channel": _timm(in_chans=1),
        "four channels": _timm(in_chans=4),
        "features only": _timm_features,
        "flat configuration of before 0.8": _timm_flat,
    }.items():
        yield Kind("timm", name, "timm", "timm", write)
    vit, clip = (
        hf.ViTImageProcessor(size=SIZE),
        hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE),
    )
    for name, write in {
        "classifier": _saved(lambda: hf.ViTForImageClassification(hf.ViTConfig(**VISION)), vit),
        "backbone without a head": _saved(lambda: hf.ViTModel(hf.ViTConfig(**VISION)), vit),
        "no image processor": _saved(lambda: hf.ViTModel(hf.ViTConfig(**VISION))),
        "images and text (CLIP)": _saved(_clip, clip),
        "captioner (BLIP)": _saved(_captioner, vit),
        "OCR (TrOCR)": _saved(_reader, vit),
        "video (VideoMAE), repeated frame": _video,
    }.items():
        yield Kind("transformers", name, "transformers", "transformers", write)
    yield Kind("open_clip", "images and text", "open_clip_torch", "open_clip", _open_clip)
    smp = ("segmentation-models-pytorch", "segmentation_models_pytorch")
    yield Kind(smp[0], "U-Net", *smp, _segmentation)
    yield Kind("diffusers", "autoencoder", "diffusers", "diffusers", _autoencoder)
    yield Kind("diffusers", "pipeline of a denoiser, at a timestep", "diffusers", "diffusers", _denoiser)
    yield Kind("sentence-transformers", "CLIP in a folder below", "transformers", "transformers", _sentences)
    yield Kind("peft", "LoRA on a ViT", "peft", "peft", _adapter)
    yield Kind("torch.export", "program (.pt2)", "torch", "torch", _program)
    yield Kind("onnx", "graph (.onnx)", "onnx2torch", "onnx2torch", _graph)
    yield Kind("pickle", "module (.pt)", "torch", "torch", _pickle)
    yield Kind("pickle", "Ultralytics YOLO (.pt)", "ultralytics", "ultralytics", _yolo)


KINDS = tuple(_kinds())


def is_installed(kind: Kind) -> bool:
    """Whether the library is here that writes such a checkpoint."""
    return importlib.util.find_spec(kind.package) is not None


def examine(kind: Kind) -> Row:
    """Write one, inspect it, analyse it, and count its activation operators without hooks."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place) / "net"
        folder.mkdir()
        options = kind.write(folder)
        seen = ha.inspect(
            folder, **{name: options[name] for name in ("trust_remote_code",) if name in options}
        )
        usual: dict[str, Any] = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}
        signature = ha.analyze(folder, photographs(), **usual, **options)
        assert signature.metadata["model"]["library"] == kind.library, signature.metadata["model"]["library"]
        counted = _count(folder, options)
    rows, skipped = len(signature.rows), len(signature.skipped)
    return Row(kind, f"{len(seen.rows)}", f"{rows} + {skipped} skipped = {rows + skipped}", f"{counted}")


def _count(folder: Path, options: dict[str, Any]) -> int:
    """Activation operators that one forward pass dispatches."""
    asked = {name: value for name, value in options.items() if name != "processor"}
    chosen = Options(batch_size=4, **asked)
    checkpoint = load_checkpoint(locate_model(folder, chosen), options.get("processor"), chosen)
    inputs = checkpoint.inputs(photographs(2))
    with torch.no_grad(), Count(checkpoint.module) as count:
        checkpoint.forward(inputs)
    return count.calls.total()


INTRODUCTION = """# Checkpoints of which libraries

One checkpoint of each kind, written by its own library when this page was made (`make models`), with small random
weights, then inspected and analysed. *Counted* are the activation operators that PyTorch dispatched, without hooks
([how](coverage.md)). The library is recognised by the files; its name is the value of `loader` (`--loader`) that
insists on it.

| library | version | kind | inspect: rows | analyze: rows and skipped | counted |
| --- | --- | --- | ---: | --- | ---: |
"""

BY_HAND = """
Pickles and programs of torch.export run code when they are read: they need `trust_remote_code`. What no library
here recognises is loaded by a class or function that `loader` names ([how](faq.md)), or by hand:

| library | line of Python that gives the module |
| --- | --- |
"""


def document() -> str:
    """The page."""
    lines = []
    for kind in KINDS:
        if not is_installed(kind):
            lines.append(f"| {kind.library} | not installed | {kind.name} | | | |")
            continue
        row = examine(kind)
        print(kind.library, kind.name, row.inspected, row.analysed, row.counted, file=sys.stderr, flush=True)
        version = importlib.metadata.version(kind.distribution)
        wrong = "" if row.is_right else " **differs**"
        cells = (kind.library, version, kind.name, row.inspected, row.analysed + wrong, row.counted)
        lines.append(f"| {' | '.join(cells)} |")
    by_hand = (f"| {name} | `{hand.line}` |" for name, hand in HANDS.items())
    return "\n".join([INTRODUCTION.rstrip("\n"), *lines, BY_HAND.rstrip("\n"), *by_hand]) + "\n"


if __name__ == "__main__":
    hf.logging.set_verbosity_error()
    DOCUMENT.write_text(document(), encoding="utf-8")
