"""Find the part of a model that runs on images alone.

An image classifier, a detector or a depth model is run whole. For a model of images and text (CLIP, BLIP,
Grounding DINO) only the image side is run: ``get_image_features`` if the model or a part of it has that method,
else the outermost part that takes images alone. A model that generates text (captions, OCR, answers) is never run
whole, since its decoder needs text even if its signature does not require it. A video model is run on clips.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

PIXELS, VIDEOS = "pixel_values", "pixel_values_videos"

#: Input names under which models take images.
IMAGES = (PIXELS, VIDEOS, "flattened_patches")

#: The rows and columns of patches of each image, where a processor packs the patches of all images (Qwen-VL).
GRID = "image_grid_thw"

#: The networks that have one of these inputs.
KINDS = {
    "input_ids": "a language model",
    "input_values": "a model of sound",
    "input_features": "a model of sound",
}

#: Inputs that image processors return, including masks and sizes.
FROM_PROCESSOR = {*IMAGES, GRID, "pixel_mask", "pixel_attention_mask", "spatial_shapes"}


@dataclass(frozen=True)
class VisionForward:
    """How to run the image side of a model.

    Attributes:
        name: ``"forward"``, or the path of the method or module that takes images alone.
        run: The method or module.
        by_name: Whether it takes its inputs by name, as models of transformers do.
        takes: The input name of images.
        one_tile: Whether to use only the first of several tiles of an image, which is the whole image.
    """

    name: str
    run: Callable[..., Any]
    by_name: bool
    takes: str = PIXELS
    one_tile: bool = False

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        """Run on a batch of inputs by name; inputs that it does not accept are left out."""
        accepted = _parameters(getattr(self.run, "forward", self.run))
        if GRID in inputs:
            inputs = {**inputs, PIXELS: _packed(inputs[PIXELS], inputs[GRID])}
        if self.takes not in inputs and PIXELS in inputs:
            inputs = {self.takes: inputs[PIXELS], **inputs}
        if self.one_tile and PIXELS in inputs and inputs[PIXELS].ndim == 5:
            inputs = {**inputs, PIXELS: inputs[PIXELS][:, 0]}
        named = {name: value for name, value in inputs.items() if name in accepted}
        if not self.by_name and PIXELS in inputs:
            named.pop(PIXELS, None)
            return self.run(inputs[PIXELS], **named)
        return self.run(**(named or inputs))  # PEFT's forward names no inputs and passes all of them on


def vision_forward(model: nn.Module) -> VisionForward:
    """Find the part of a model that runs on images alone.

    Raises:
        ModelError: The model needs other inputs; the message names them.
    """
    if not hasattr(model, "main_input_name"):  # not a transformers model: takes pixels
        encode = getattr(model, "encode_image", None)
        if encode is None:
            return VisionForward("forward", model, by_name=False)
        return VisionForward("encode_image", encode, by_name=False)
    frames = num_frames(model)
    if not writes_text(model):
        if _takes_images_alone(model):
            return VisionForward("forward", model, by_name=True, takes=_image_input(model))
        if _takes_one_input(model):
            return VisionForward("forward", model, by_name=False)
    for path, part in _outermost_first(model):
        name = "get_image_features" if frames is None else "get_video_features"
        features = getattr(part, name, None)
        if features is not None and _needed(features) <= FROM_PROCESSOR:
            return VisionForward(".".join(filter(None, (path, name))), features, by_name=True)
    for path, part in _outermost_first(model):
        if (part is not model or not writes_text(model)) and _takes_images_alone(part):
            takes = _image_input(part)
            tiles = takes == PIXELS and frames is None
            return VisionForward(path, part, by_name=True, takes=takes, one_tile=tiles)
    raise _needs_other_inputs(type(model))


def refuse_other_inputs(network: type[nn.Module]) -> None:
    """Raise before the weights of a network of text or sound are downloaded.

    Args:
        network: A class of transformers.

    Raises:
        ModelError: The class takes text or sound, and no images.
    """
    accepted = _parameters(network.forward)
    others = accepted.keys() & KINDS and getattr(network, "main_input_name", None) in accepted
    sides = any(hasattr(network, f"get_{what}_features") for what in ("image", "video"))
    if others and not sides and not accepted.keys() & set(IMAGES):
        raise _needs_other_inputs(network)


def _needs_other_inputs(network: Any) -> ModelError:
    main: Any = network.main_input_name  # some vision towers inherit it from a language model
    declared = {main} if isinstance(main, str) else set(main)
    needed = _needed(network.forward) - {"self"}
    needs = sorted((declared & _parameters(network.forward).keys() | needed) - FROM_PROCESSOR)
    kind = KINDS.get(needs[0]) if len(needs) == 1 else None
    return ModelError(
        f"{network.__name__} cannot run on images alone: it needs {', '.join(needs)}"
        f"{f', as {kind} does' if kind else ''}. Expected a model, or a part of it, that takes {PIXELS} only; "
        "pass such a part as a torch.nn.Module."
    )


def images_per_pass(model: nn.Module, inputs: dict[str, torch.Tensor]) -> int | None:
    """The number of images that a forward pass must have; None if any number can run.

    Images whose patches are packed run one by one, so that every row belongs to one image. A program that was
    exported for one size of batch runs with that.
    """
    fixed: int | None = getattr(model, "exported_batch_size", None)
    return 1 if GRID in inputs else fixed


def _packed(patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Patches of shape ``(N, most patches, d)`` one after the other, without those that fill up smaller images."""
    import torch

    numbers = grid.prod(-1).tolist()
    return torch.cat([image[:number] for image, number in zip(patches, numbers, strict=True)])


def writes_text(model: nn.Module) -> bool:
    """Whether a transformers model generates text: captioning, OCR, or a vision-language model."""
    can_generate = getattr(model, "can_generate", None)
    return bool(can_generate is not None and can_generate())


def num_frames(model: nn.Module) -> int | None:
    """Frames per clip of a video model; None for an image model."""
    takes_video = getattr(model, "main_input_name", None) in IMAGES or hasattr(model, "get_video_features")
    config = getattr(model, "config", None)
    frames = _setting(config, "num_frames") or _setting(config, "frames_per_clip")
    return frames if takes_video and isinstance(frames, int) else None


def image_shape(model: nn.Module) -> tuple[int, int, int]:
    """The channels, height and width of images that a model declares; 3 x 224 x 224 by default."""
    config = getattr(model, "config", None)
    for owner in (model, config):  # of timm, or timm's wrapper in transformers
        settings = getattr(owner, "pretrained_cfg", None)
        if isinstance(settings, dict) and "input_size" in settings:
            channels, *size = settings["input_size"]
            embedding = getattr(model, "patch_embed", None)
            built_for = getattr(embedding, "img_size", None)  # create_model(img_size=64)
            height, width = built_for if isinstance(built_for, tuple) else size
            return channels, height, width
    sides = (model, getattr(model, "visual", None))  # the second of open_clip
    named = (getattr(side, "image_size", None) for side in sides)
    size = _setting(config, "image_size") or next(filter(None, named), None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    return _setting(config, "num_channels") or 3, height, width


def _setting(config: Any, name: str) -> Any:
    """A setting of a configuration, or of its vision part."""
    parts = (getattr(config, part, None) for part in ("vision_config", "backbone_config"))
    return getattr(config, name, None) or next((_setting(part, name) for part in parts if part), None)


def _takes_images_alone(part: nn.Module) -> bool:
    main = getattr(part, "main_input_name", None)
    needed = _needed(part.forward)
    if main is None or not needed <= FROM_PROCESSOR:
        return False
    # Some vision towers do not declare their main input; Perceiver takes pixels under two names, but no text.
    if PIXELS in needed or main in IMAGES:
        return _image_input(part) in _parameters(part.forward) or not _has_names(part)
    return main == "inputs" and PIXELS in _parameters(part.forward)


def _image_input(part: nn.Module) -> str:
    """The input name of images of a part; ``pixel_values`` if its signature has none of the names."""
    accepted = _parameters(part.forward)
    return next((name for name in IMAGES if name in accepted), PIXELS)


def _has_names(part: nn.Module) -> bool:
    """Whether a part declares its inputs, beyond ``*args`` and ``**kwargs``."""
    kinds = {parameter.kind for parameter in _parameters(part.forward).values()}
    return not kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _takes_one_input(model: nn.Module) -> bool:
    """Whether a model with custom code has one required input, of any name."""
    if type(model).__module__.startswith("transformers."):  # its inputs have standard names
        return False
    first = next(iter(_parameters(model.forward)), "")
    needed = _needed(model.forward) - FROM_PROCESSOR
    return needed <= {first} and not first.startswith(("input_", "inputs_", "decoder_"))


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def _needed(function: Callable[..., Any]) -> set[str]:
    """Names of the inputs without a default."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name
        for name, parameter in _parameters(function).items()
        if parameter.default is parameter.empty and parameter.kind not in variadic
    }


def _outermost_first(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model and its submodules with their paths, breadth first."""
    waiting = deque([("", model)])
    while waiting:
        path, part = waiting.popleft()
        yield path, part
        waiting.extend((f"{path}.{name}" if path else name, child) for name, child in part.named_children())
