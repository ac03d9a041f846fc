"""Video models: they take clips from the data set, or a repeated image if the user asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_affscore.errors import InputError
from hf_affscore.models.vision_forward import PIXELS, num_frames

if TYPE_CHECKING:
    import torch
    from torch import nn


def as_clips(inputs: dict[str, torch.Tensor], model: nn.Module, *, repeat: bool) -> dict[str, torch.Tensor]:
    """Inputs as a video model takes them; the inputs of an image model are returned unchanged.

    Args:
        inputs: A batch by name; pixels of shape ``(N, C, H, W)``, or ``(N, frames, C, H, W)``, which are clips.
        model: The network.
        repeat: Whether a single image may be repeated as a static clip.

    Raises:
        InputError: The inputs are single images and may not be repeated.
    """
    frames = num_frames(model)
    pixels = inputs.get(PIXELS)
    if frames is None or pixels is None:
        return inputs
    if pixels.ndim == 5 and pixels.shape[1] == 1:  # a video processor treated an image as a clip of one frame
        pixels = pixels[:, 0]
    if pixels.ndim != 4:
        return inputs
    if not repeat:
        raise InputError(
            f"{type(model).__name__} is a video model: it takes clips of {frames} frames; received single images. "
            "Pass clips as tensors of shape (frames, 3, H, W), or repeat each image as a static clip: "
            "repeat_frames=True, --repeat-frames."
        )
    return {**inputs, PIXELS: pixels[:, None].repeat(1, frames, 1, 1, 1)}
