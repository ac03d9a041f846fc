"""Every kind of checkpoint, written by its own library: how it is written, and how a person loads it by hand."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import transformers as hf
from torch import nn
from transformers.video_processing_utils import BaseVideoProcessor

from tests.models import networks
from tests.models.networks import CROPPING, SIZE, VISION, clip

#: Options that loading and preprocessing take.
Options = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint.

    Attributes:
        library: The library that writes it, as the registry calls it.
        name: What it is.
        distribution: What pip calls the library.
        package: What is imported to write one.
        write: Writes one into a folder, and returns the options of its analysis.
        by_hand: Loads the network from that folder with the library alone, and what preprocesses its images;
            None for what ``analyze`` takes for a module.
    """

    library: str
    name: str
    distribution: str
    package: str
    write: Callable[[Path], Options]
    by_hand: Callable[[Path], tuple[nn.Module, Any]]


def _at_32(module: Any) -> Any:
    """A network that says which size of images it takes."""
    module.image_size = (32, 32)
    return module


# timm


def _timm(**arguments: Any) -> Callable[[Path], Options]:
    def write(folder: Path) -> Options:
        timm.models.save_for_hf(timm.create_model("test_resnet", **arguments), folder)
        return {}

    return write


def _timm_features(folder: Path) -> Options:
    _timm(num_classes=0)(folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] = {"features_only": True}
    (folder / "config.json").write_text(json.dumps(config))
    return {}


def _timm_flat(folder: Path) -> Options:
    _timm()(folder)
    config = json.loads((folder / "config.json").read_text())
    flat = {"architecture": "test_resnet", **config["pretrained_cfg"]}
    (folder / "config.json").write_text(json.dumps(flat))
    return {}


def _timm_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    return timm.create_model(f"local-dir:{folder}", pretrained=True), None


def _of_timm() -> Iterator[Kind]:
    for name, write in {
        "classifier": _timm(),
        "three classes": _timm(num_classes=3),
        "without a head": _timm(num_classes=0),
        "one channel": _timm(in_chans=1),
        "four channels": _timm(in_chans=4),
        "features only": _timm_features,
        "flat configuration of before 0.8": _timm_flat,
    }.items():
        yield Kind("timm", name, "timm", "timm", write, _timm_by_hand)


# transformers


def _saved(make: Callable[[], networks.Pair], folder: Path, **options: Any) -> Options:
    network, processor = make()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return options


def _without_processor(folder: Path) -> Options:
    networks.backbone()[0].save_pretrained(folder)
    return {}


def _half(folder: Path) -> Options:
    networks.classifier()[0].to(torch.bfloat16).save_pretrained(folder)
    networks.classifier()[1].save_pretrained(folder)
    return {}


def _by_class(make: Callable[[], networks.Pair], folder: Path) -> tuple[nn.Module, Any]:
    network, processor = make()
    auto = hf.AutoVideoProcessor if isinstance(processor, BaseVideoProcessor) else hf.AutoImageProcessor
    return type(network).from_pretrained(folder, dtype=torch.float32), auto.from_pretrained(folder)


CODE = """
import torch
from transformers import PreTrainedModel, PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "tiny-remote"


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        self.post_init()

    def forward(self, x):
        return torch.sigmoid(self.layers(x))
"""


def _remote(folder: Path) -> Options:
    (folder / "tiny.py").write_text(CODE)
    auto_map = {"AutoConfig": "tiny.TinyConfig", "AutoModelForImageSegmentation": "tiny.TinyModel"}
    config = {"model_type": "tiny-remote", "architectures": ["TinyModel"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    module = hf.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    hf.AutoModelForImageSegmentation.from_config(module, trust_remote_code=True).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    hf.ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return {"trust_remote_code": True}


def _remote_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    network = hf.AutoModelForImageSegmentation.from_pretrained(folder, trust_remote_code=True)
    return network, hf.ViTImageProcessor.from_pretrained(folder)


def _quantised(settings: Callable[[], Any], folder: Path) -> Options:
    whole = folder.parent / "whole"
    _saved(_wide, whole)
    hf.ViTForImageClassification.from_pretrained(whole, quantization_config=settings()).save_pretrained(
        folder
    )
    _wide()[1].save_pretrained(folder)
    return {}


def _wide() -> networks.Pair:
    """Of widths that kernels of 4 bits can divide."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_labels": 64}
    return hf.ViTForImageClassification(hf.ViTConfig(**{**VISION, **sizes})), hf.ViTImageProcessor(size=SIZE)


def _int8() -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return hf.TorchAoConfig(Int8WeightOnlyConfig())


MAKERS: dict[str, Callable[[], networks.Pair]] = {
    "classifier": networks.classifier,
    "backbone without a head": networks.backbone,
    "AutoBackbone (DINOv2)": networks.auto_backbone,
    "detector (DETR)": networks.detr,
    "detector (YOLOS)": networks.yolos,
    "segmentation (SegFormer)": networks.segformer,
    "segmentation (Mask2Former)": networks.mask2former,
    "depth (DPT)": networks.dpt,
    "masked images (ViT)": networks.masked_images,
    "masked autoencoder (ViT-MAE)": networks.masked_autoencoder,
    "images and text (CLIP)": networks.clip,
    "images and text (SigLIP)": networks.siglip,
    "captioner (BLIP)": networks.blip,
    "OCR (TrOCR)": networks.trocr,
    "OCR (Donut)": networks.donut,
    "vision-language (LLaVA)": networks.llava,
    "vision-language, tiles (LLaVA-NeXT)": networks.llava_next,
    "vision-language, tiles (LLaVA-OneVision)": networks.llava_onevision,
    "vision-language, tiles (Idefics3)": networks.idefics3,
    "vision-language, packed patches (Qwen2-VL)": networks.qwen2,
    "vision-language, packed patches (Qwen2.5-VL)": networks.qwen2_5,
}
VIDEO_MAKERS: dict[str, Callable[[], networks.Pair]] = {
    "video (VideoMAE), repeated frame": networks.videomae,
    "video (TimeSformer), repeated frame": networks.timesformer,
    "video (V-JEPA 2), repeated frame": networks.vjepa2,
}


def _of_transformers() -> Iterator[Kind]:
    own = ("transformers", "transformers")
    for makers, options in ((MAKERS, {}), (VIDEO_MAKERS, {"repeat_frames": True})):
        for name, make in makers.items():
            write = functools.partial(_saved, make, **options)
            yield Kind("transformers", name, *own, write, functools.partial(_by_class, make))
    by_hand = functools.partial(_by_class, networks.backbone)
    yield Kind(
        "transformers",
        "no image processor",
        *own,
        _without_processor,
        lambda folder: (hf.ViTModel.from_pretrained(folder), networks.fast("ViTImageProcessor")(size=SIZE)),
    )
    yield Kind("transformers", "code of the checkpoint, forward(x)", *own, _remote, _remote_by_hand)
    by_hand = functools.partial(_by_class, networks.classifier)
    yield Kind("transformers", "stored in bfloat16", *own, _half, by_hand)
    by_hand = functools.partial(_by_class, _wide)
    for name, package, settings in (
        ("quantised, 8 bits (torchao)", "torchao", _int8),
        (
            "quantised, 8 bits (bitsandbytes)",
            "bitsandbytes",
            lambda: hf.BitsAndBytesConfig(load_in_8bit=True),
        ),
        (
            "quantised, 4 bits (bitsandbytes)",
            "bitsandbytes",
            lambda: hf.BitsAndBytesConfig(load_in_4bit=True),
        ),
    ):
        write = functools.partial(_quantised, settings)
        yield Kind("transformers", name, "transformers", package, write, by_hand)


# others


def _open_clip(folder: Path) -> Options:
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


def _open_clip_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import open_clip

    return open_clip.create_model_from_pretrained(f"local-dir:{folder}")  # type: ignore[return-value]


def _segmentation(folder: Path) -> Options:
    import segmentation_models_pytorch as smp

    smp.Unet("resnet18", encoder_weights=None, classes=2).save_pretrained(folder)
    return {"processor": "imagenet"}


def _segmentation_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import segmentation_models_pytorch as smp

    return smp.from_pretrained(folder), "imagenet"


def _prepared(image: Any) -> torch.Tensor:
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor().preprocess(image, height=32, width=32)[0]


def _autoencoder(folder: Path) -> Options:
    import diffusers

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    shape = {"block_out_channels": (8, 16), "norm_num_groups": 4, "sample_size": 32}
    diffusers.AutoencoderKL(**blocks, **shape).save_pretrained(folder)
    return {}


def _autoencoder_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import diffusers

    return diffusers.AutoencoderKL.from_pretrained(folder), _prepared


def _denoiser(folder: Path) -> Options:
    import diffusers

    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    shape = {"sample_size": 32, "block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    unet = diffusers.UNet2DModel(**blocks, **shape)
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder)
    return {"timestep": 100}


class _AtStep(nn.Module):
    """A denoiser at the step of the noise that the kind is analysed at."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, pixels: torch.Tensor) -> Any:
        return self.unet(pixels, 100)


def _denoiser_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import diffusers

    return _AtStep(diffusers.UNet2DModel.from_pretrained(folder / "unet")), _prepared


def _sentences(folder: Path) -> Options:
    _saved(clip, folder / "0_CLIPModel")
    kind = "sentence_transformers.models.CLIPModel"
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return {}


def _sentences_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    return hf.CLIPModel.from_pretrained(folder / "0_CLIPModel"), CROPPING


def _adapter(folder: Path) -> Options:
    import peft

    base = folder.parent / "base"
    _saved(networks.backbone, base)
    settings = peft.LoraConfig(r=2, target_modules=r".*(fc1|intermediate\.dense)", init_lora_weights=False)
    adapted = peft.get_peft_model(hf.ViTModel.from_pretrained(base), settings)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder)
    return {}


def _adapter_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import peft

    base = hf.ViTModel.from_pretrained(folder.parent / "base")
    return peft.PeftModel.from_pretrained(base, folder), hf.ViTImageProcessor(size=SIZE)


def _layers() -> nn.Module:
    first, second, third = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3)
    return nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid(), third, nn.Hardswish()).eval()


def _program(batch: int | None, folder: Path) -> Options:
    """A program for batches of one size, or of any."""
    example = (torch.randn(batch or 2, 3, 32, 32),)
    dynamic = None if batch else ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(_layers(), example, dynamic_shapes=dynamic), folder / "model.pt2")
    return {"trust_remote_code": True, "processor": "imagenet"}


def _program_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    return _at_32(torch.export.load(folder / "model.pt2").module()), "imagenet"


def _graph(folder: Path) -> Options:
    example, axes = torch.randn(2, 3, 32, 32), {"x": {0: "batch"}}
    file = folder / "model.onnx"
    torch.onnx.export(_layers(), (example,), file, dynamo=False, dynamic_axes=axes, input_names=["x"])
    return {"processor": "imagenet"}


def _graph_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    import onnx2torch

    return _at_32(onnx2torch.convert(folder / "model.onnx")), "imagenet"


def _pickle(folder: Path) -> Options:
    torch.save(_layers(), folder / "model.pt")
    return {"trust_remote_code": True, "processor": "imagenet"}


def _pickle_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    return torch.load(folder / "model.pt", weights_only=False), "imagenet"


def _yolo(folder: Path) -> Options:
    from ultralytics import YOLO

    YOLO("yolov8n.yaml").save(folder / "best.pt")
    return {"trust_remote_code": True, "processor": "imagenet"}


def _yolo_by_hand(folder: Path) -> tuple[nn.Module, Any]:
    from ultralytics import YOLO

    return YOLO(folder / "best.pt").model.float(), "imagenet"


def _others() -> Iterator[Kind]:
    yield Kind("open_clip", "images and text", "open_clip_torch", "open_clip", _open_clip, _open_clip_by_hand)
    smp = ("segmentation-models-pytorch", "segmentation_models_pytorch")
    yield Kind(smp[0], "U-Net", *smp, _segmentation, _segmentation_by_hand)
    diffusers = ("diffusers", "diffusers")
    yield Kind("diffusers", "autoencoder", *diffusers, _autoencoder, _autoencoder_by_hand)
    name = "pipeline of a denoiser, at a timestep"
    yield Kind("diffusers", name, *diffusers, _denoiser, _denoiser_by_hand)
    own = ("transformers", "transformers")
    yield Kind("sentence-transformers", "CLIP in a folder below", *own, _sentences, _sentences_by_hand)
    yield Kind("peft", "LoRA on a ViT", "peft", "peft", _adapter, _adapter_by_hand)
    for name, batch in (("program (.pt2)", None), ("program for batches of 4 (.pt2)", 4)):
        write = functools.partial(_program, batch)
        yield Kind("torch.export", name, "torch", "torch", write, _program_by_hand)
    yield Kind("onnx", "graph (.onnx)", "onnx2torch", "onnx2torch", _graph, _graph_by_hand)
    yield Kind("pickle", "module (.pt)", "torch", "torch", _pickle, _pickle_by_hand)
    yield Kind("pickle", "Ultralytics YOLO (.pt)", "ultralytics", "ultralytics", _yolo, _yolo_by_hand)


KINDS = (*_of_timm(), *_of_transformers(), *_others())
