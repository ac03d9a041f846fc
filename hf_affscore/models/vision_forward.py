"""The part of a model that images alone can run.

An image classifier, a detector or a depth model runs as it is. A model of images and text (CLIP, BLIP,
Grounding DINO) is run on its image side: ``get_image_features`` where the model or a part of it has that,
else its first part, outermost first, that takes images alone. One that writes text about images (captions, OCR,
answers) is never run whole, since its decoder needs text, whatever its signature says. A model of video is run on
clips, where it is given some.
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

PIXELS = "pixel_values"

#: Names under which models take images; pixels are given under the one that a model has.
IMAGES = (PIXELS, "pixel_values_videos", "flattened_patches")

#: What image processors return, masks and sizes included.
FROM_PROCESSOR = {*IMAGES, "pixel_mask", "pixel_attention_mask", "spatial_shapes"}


@dataclass(frozen=True)
class VisionForward:
    """How to run the image side of a model.

    Attributes:
        name: What runs: ``"forward"``, or the path of the method or module that takes images alone.
        run: The method or module.
        by_name: Whether it takes its inputs by name, as models of transformers do.
        takes: Under which name it takes images.
        one_tile: Whether it takes one image where a processor cuts several tiles: the first is the whole one.
    """

    name: str
    run: Callable[..., Any]
    by_name: bool
    takes: str = PIXELS
    one_tile: bool = False

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        """Run on a batch of inputs by name, of which those that it does not take are left out."""
        accepted = _parameters(getattr(self.run, "forward", self.run))
        if self.takes not in inputs and PIXELS in inputs:
            inputs = {self.takes: inputs[PIXELS], **inputs}
        if self.one_tile and PIXELS in inputs and inputs[PIXELS].ndim == 5:
            inputs = {**inputs, PIXELS: inputs[PIXELS][:, 0]}
        named = {name: value for name, value in inputs.items() if name in accepted}
        if not self.by_name and PIXELS in inputs:
            named.pop(PIXELS, None)
            return self.run(inputs[PIXELS], **named)
        return self.run(**(named or inputs))  # one that names none of them passes on them all, as PEFT's does


def vision_forward(model: nn.Module) -> VisionForward:
    """Find what images alone can run.

    Raises:
        ModelError: The model needs other inputs; the message names them.
    """
    if not hasattr(model, "main_input_name"):  # not of transformers: takes pixels
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
    main: Any = model.main_input_name  # which some vision towers inherit from a language model
    declared = {main} if isinstance(main, str) else set(main)
    needs = sorted((declared & _parameters(model.forward).keys() | _needed(model.forward)) - FROM_PROCESSOR)
    raise ModelError(
        f"{type(model).__name__} cannot run on images alone: it needs {', '.join(needs)}"
        f"{', as a language model does' if needs == ['input_ids'] else ''}. Expected a model, or "
        f"a part of it, that takes {PIXELS} only; pass such a part as a torch.nn.Module."
    )


def writes_text(model: nn.Module) -> bool:
    """Whether a model of transformers generates: a captioner, OCR, or a language model that sees."""
    can_generate = getattr(model, "can_generate", None)
    return bool(can_generate is not None and can_generate())


def num_frames(model: nn.Module) -> int | None:
    """Frames of a clip that a model of video takes; None for a model of images."""
    takes_video = getattr(model, "main_input_name", None) in IMAGES or hasattr(model, "get_video_features")
    config = getattr(model, "config", None)
    frames = _setting(config, "num_frames") or _setting(config, "frames_per_clip")
    return frames if takes_video and isinstance(frames, int) else None


def image_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model says it takes; 3 x 224 x 224 where it is silent."""
    config = getattr(model, "config", None)
    for owner in (model, config):  # of timm, or timm's wrapper in transformers
        settings = getattr(owner, "pretrained_cfg", None)
        if isinstance(settings, dict) and "input_size" in settings:
            channels, height, width = settings["input_size"]
            return channels, height, width
    sides = (model, getattr(model, "visual", None))  # the second of open_clip
    named = (getattr(side, "image_size", None) for side in sides)
    size = _setting(config, "image_size") or next(filter(None, named), None) or 224
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    return _setting(config, "num_channels") or 3, height, width


def _setting(config: Any, name: str) -> Any:
    """A setting of a configuration, or of its part for vision."""
    parts = (getattr(config, part, None) for part in ("vision_config", "backbone_config"))
    return getattr(config, name, None) or next((_setting(part, name) for part in parts if part), None)


def _takes_images_alone(part: nn.Module) -> bool:
    main = getattr(part, "main_input_name", None)
    needed = _needed(part.forward)
    if main is None or not needed <= FROM_PROCESSOR:
        return False
    # Some vision towers do not declare their main input; Perceiver takes pixels under two names, and no text.
    if PIXELS in needed or main in IMAGES:
        return _image_input(part) in _parameters(part.forward) or not _has_names(part)
    return main == "inputs" and PIXELS in _parameters(part.forward)


def _image_input(part: nn.Module) -> str:
    """The name under which a part takes images; they go under the usual one where it names none."""
    accepted = _parameters(part.forward)
    return next((name for name in IMAGES if name in accepted), PIXELS)


def _has_names(part: nn.Module) -> bool:
    """Whether a part says at all which inputs it takes."""
    kinds = {parameter.kind for parameter in _parameters(part.forward).values()}
    return not kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _takes_one_input(model: nn.Module) -> bool:
    """Whether code that came with a checkpoint has one input that must be given, whatever it is called."""
    if type(model).__module__.startswith("transformers."):  # whose inputs have agreed names
        return False
    first = next(iter(_parameters(model.forward)), "")
    needed = _needed(model.forward) - FROM_PROCESSOR
    return needed <= {first} and not first.startswith(("input_", "inputs_", "decoder_"))


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def _needed(function: Callable[..., Any]) -> set[str]:
    """Names of the inputs that have no default."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name
        for name, parameter in _parameters(function).items()
        if parameter.default is parameter.empty and parameter.kind not in variadic
    }


def _outermost_first(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model and its parts with their paths, breadth first."""
    waiting = deque([("", model)])
    while waiting:
        path, part = waiting.popleft()
        yield path, part
        waiting.extend((f"{path}.{name}" if path else name, child) for name, child in part.named_children())
