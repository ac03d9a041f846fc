"""The part of a model that images alone can run.

An image classifier, a detector or a depth model runs as it is. A model of images and text (CLIP, BLIP,
Grounding DINO) is run on its image side: ``get_image_features`` where the model or a part of it has that,
else its first part, outermost first, that takes images alone.
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
FROM_PROCESSOR = {
    PIXELS,
    "pixel_mask",
    "pixel_attention_mask",
    "spatial_shapes",
}  # what image processors return


@dataclass(frozen=True)
class VisionForward:
    """How to run the image side of a model.

    Attributes:
        name: What runs: ``"forward"``, or the path of the method or module that takes images alone.
        run: The method or module.
        by_name: Whether it takes its inputs by name, as models of transformers do.
    """

    name: str
    run: Callable[..., Any]
    by_name: bool

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        """Run on a batch of inputs by name, of which those that it does not take are left out."""
        accepted = _parameters(getattr(self.run, "forward", self.run))
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
        return VisionForward("forward", model, by_name=False)
    if _takes_images_alone(model):
        return VisionForward("forward", model, by_name=True)
    for path, part in _outermost_first(model):
        features = getattr(part, "get_image_features", None)
        if features is not None and _needed(features) <= FROM_PROCESSOR:
            return VisionForward(".".join(filter(None, (path, "get_image_features"))), features, by_name=True)
    for path, part in _outermost_first(model):
        if _takes_images_alone(part):
            return VisionForward(path, part, by_name=True)
    main: Any = model.main_input_name  # which some vision towers inherit from a language model
    declared = {main} if isinstance(main, str) else set(main)
    needs = sorted((declared & _parameters(model.forward).keys() | _needed(model.forward)) - FROM_PROCESSOR)
    raise ModelError(
        f"{type(model).__name__} cannot run on images alone: it needs {', '.join(needs)}. Expected a model, or "
        f"a part of it, that takes {PIXELS} only; pass such a part as a torch.nn.Module."
    )


def image_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model says it takes; 3 x 224 x 224 where it is silent."""
    config = getattr(model, "config", None)
    for owner in (model, config):  # of timm, or timm's wrapper in transformers
        settings = getattr(owner, "pretrained_cfg", None)
        if isinstance(settings, dict) and "input_size" in settings:
            channels, height, width = settings["input_size"]
            return channels, height, width
    size = _setting(config, "image_size") or getattr(model, "image_size", None) or 224
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
    return PIXELS in needed or main == PIXELS or (main == "inputs" and PIXELS in _parameters(part.forward))


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
