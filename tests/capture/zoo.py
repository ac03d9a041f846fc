"""Every architecture of transformers, timm and torchvision that takes images, to be built without weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

from hf_affscore.inspection.inputs import runner
from hf_affscore.models.libraries.transformers import from_configuration
from hf_affscore.models.video import as_clips
from hf_affscore.models.vision_forward import image_shape
from tests.capture.settings import BATCH, INPUTS, SETTINGS, SIZES, Inputs, of_class

#: transformers' Auto classes for images. Of AutoModel, what belongs to images.
AUTO_CLASSES = (
    *("AutoModelForImageClassification", "AutoBackbone", "AutoModelForZeroShotImageClassification"),
    *("AutoModelForObjectDetection", "AutoModelForZeroShotObjectDetection"),
    *("AutoModelForSemanticSegmentation", "AutoModelForInstanceSegmentation"),
    *("AutoModelForUniversalSegmentation", "AutoModelForImageSegmentation", "AutoModelForMaskGeneration"),
    *("AutoModelForDepthEstimation", "AutoModelForMaskedImageModeling", "AutoModelForImageToImage"),
    *("AutoModelForKeypointDetection", "AutoModelForKeypointMatching", "AutoModelForPoseEstimation"),
    *("AutoModelForImageMatting", "AutoModel"),
)


@dataclass(frozen=True)
class Architecture:
    """A model to build and run, by library and name."""

    library: str
    name: str
    build: Callable[[], nn.Module] = field(compare=False)
    size: int | None = None
    inputs: Inputs | None = field(default=None, compare=False)

    def asked(self, model: nn.Module, device: str) -> dict[str, Tensor] | None:
        """Inputs to pass to an inspection; None where it finds out by itself what fits."""
        if self.inputs is not None:
            return self.inputs(model, device)
        if self.size is None:
            return None
        channels, _, _ = image_shape(model)
        return {"pixel_values": torch.zeros(BATCH, channels, self.size, self.size, device=device)}

    def batch(self, model: nn.Module, device: str) -> dict[str, Tensor]:
        """Inputs that fit the model."""
        images = torch.zeros(BATCH, *image_shape(model), device=device)
        return self.asked(model, device) or {"pixel_values": images}


def run(model: nn.Module, batch: dict[str, Tensor]) -> None:
    """Run the image side, or with other inputs than images everything."""
    with torch.no_grad():
        batch = as_clips(batch, model, repeat=True)
        runner(model, batch, by_name=True)(batch)


def transformers_models() -> Iterator[Architecture]:
    """One architecture for each model class that an Auto class for images knows.

    Of AutoModel, the bare models of these configurations and the vision towers: importing all the others, of
    text and sound, would take minutes.
    """
    seen, configurations = set(), set()
    for auto in AUTO_CLASSES:
        mapping = getattr(transformers, auto)._model_mapping
        for kind, config_name in mapping._config_mapping.items():
            if kind not in mapping._model_mapping:
                continue
            if auto == "AutoModel" and config_name not in configurations and "Vision" not in config_name:
                continue
            configurations.add(config_name)
            config = getattr(transformers, config_name)
            classes = mapping[config]
            for cls in classes if isinstance(classes, tuple) else (classes,):
                if cls not in seen:
                    seen.add(cls)
                    yield _of_transformers(config, cls)


def transformers_model(name: str) -> Architecture:
    """The architecture of one class."""
    cls = getattr(transformers, name)
    return _of_transformers(cls.config_class, cls)


def _of_transformers(config: type, cls: type) -> Architecture:
    def build() -> nn.Module:
        # Through JSON, as a checkpoint's configuration arrives: tuples become lists.
        settings = json.loads(config().to_json_string(use_diff=False)) | (of_class(SETTINGS, name) or {})
        return from_configuration(cls, config.from_dict(settings))

    name = cls.__name__
    return Architecture("transformers", name, build, of_class(SIZES, name), of_class(INPUTS, name))


def timm_models(one_per_family: bool = False) -> Iterator[Architecture]:
    """Every name of timm, or the first of each of its modules."""
    families = set()
    for name in timm.list_models():
        family = timm.models.model_entrypoint(name).__module__
        if not one_per_family or family not in families:
            families.add(family)
            yield Architecture("timm", name, lambda name=name: timm.create_model(name))


def torchvision_models() -> Iterator[Architecture]:
    """Every name of torchvision but the video and quantized models, which take no images in floating point."""
    for name in torchvision.models.list_models():
        module = torchvision.models.get_model_builder(name).__module__
        if "video" in module or "optical_flow" in module or "quantization" in module:
            continue
        yield Architecture("torchvision", name, _of_torchvision(name), inputs=_of_detection(module))


def _of_torchvision(name: str) -> Callable[[], nn.Module]:
    weights = (
        {"weights_backbone": None} if "detection" in _home(name) or "segmentation" in _home(name) else {}
    )
    if name in ("googlenet", "inception_v3"):
        weights = {"init_weights": False}
    return lambda: torchvision.models.get_model(name, weights=None, **weights)


def _home(name: str) -> str:
    return torchvision.models.get_model_builder(name).__module__


def _of_detection(module: str) -> Inputs | None:
    if "detection" not in module:
        return None
    return lambda _, device: {"pixel_values": torch.zeros(BATCH, 3, 320, 320, device=device)}
