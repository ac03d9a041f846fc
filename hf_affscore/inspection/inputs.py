"""Inputs of a network from images or shapes, on the device and in the precision of its weights.

Any error of a configuration or model here becomes one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import AffscoreError, InputError, ModelError, shown_cause
from hf_affscore.models.vision_forward import (
    PIXELS,
    VisionForward,
    image_shape,
    images_per_pass,
    vision_forward,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Images of a dry run. On the meta device they cost nothing, and 13 is an unlikely length of another first axis.
ON_META, ON_CPU = 13, 2


@contextmanager
def told_as(sentence: str) -> Iterator[None]:
    """Turn any error of other code into ``sentence``, with the first line of its message."""
    try:
        yield
    except AffscoreError:
        raise
    except Exception as error:  # code of libraries and checkpoints may raise anything
        raise ModelError(sentence.replace("{said}", said_by(error))) from shown_cause(error)


def said_by(error: BaseException | None) -> str:
    """The type of an error and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(". ")


def batch_for(model: nn.Module, inputs: Any) -> dict[str, torch.Tensor]:
    """The given inputs, or zeros of the size that the model declares, on the device of its weights.

    Raises:
        ModelError: The model does not declare a valid image size.
        InputError: ``inputs`` are not tensors with one entry per image.
    """
    import torch

    like = _parameter_like(model)
    if inputs is None:
        said = f"The image size of {type(model).__name__} cannot be read"
        with told_as(f"{said}: {{said}}. Pass inputs=, a batch of pixels of a size that fits."):
            shape = image_shape(model)
            usable = len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)
        if not usable:
            raise ModelError(
                f"The model says it takes images of {shape}; expected channels, height and width. Pass inputs=."
            )
        inputs = torch.zeros(dry_images(model), *shape)
    named = dict(inputs) if isinstance(inputs, Mapping) else {PIXELS: inputs}
    _check(named, like)
    return {
        name: value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
        for name, value in named.items()
    }


def dry_images(model: nn.Module) -> int:
    """The default number of images to run through a model."""
    fixed = images_per_pass(model, {})
    return fixed or (ON_META if _parameter_like(model).is_meta else ON_CPU)


def num_images(batch: dict[str, torch.Tensor]) -> int:
    """Images in a batch: entries of its last input, since the first may hold patches of several images."""
    return len(list(batch.values())[-1])


def runner(model: nn.Module, batch: dict[str, torch.Tensor], *, by_name: bool) -> VisionForward:
    """What to run on the batch: what ``analyze`` runs, or the whole model if its inputs are not images only.

    Args:
        model: The model.
        batch: Its inputs.
        by_name: Whether the inputs were given by name, and so may include other inputs than images.
    """
    try:
        return vision_forward(model)
    except ModelError:
        if not by_name or batch.keys() <= {PIXELS}:
            raise
        return VisionForward("forward", model, by_name=True)


def _parameter_like(model: nn.Module) -> torch.Tensor:
    """A tensor with the device and precision that inputs need, chosen as in ``analyze``."""
    import torch

    parameters = list(model.parameters())
    here = [p for p in parameters if not p.is_meta] or parameters
    anywhere = next(iter(here), torch.empty(0))
    floating = (p for p in here if p.dtype.is_floating_point and p.dtype.itemsize > 1)
    found = next(floating, None)
    return torch.empty(0, device=anywhere.device, dtype=torch.float32 if found is None else found.dtype)


def _check(named: dict[Any, Any], like: torch.Tensor) -> None:
    import torch

    usable = {
        name: isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.ndim > 0
        and len(value) > 0
        and (like.is_meta or not value.is_meta)
        for name, value in named.items()
    }
    if named and all(usable.values()):
        return
    wrong = ", ".join(str(name) for name, fits in usable.items() if not fits)
    raise InputError(
        f"inputs {wrong or '{}'}: expected a batch of pixels, or a dict of tensors by the model's input names, "
        "with at least one image, and with values where the model has weights."
    )
