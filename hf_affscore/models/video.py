"""Models of video: clips where the data set has them, a repeated image where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_affscore.errors import InputError
from hf_affscore.models.vision_forward import PIXELS, num_frames

if TYPE_CHECKING:
    import torch
    from torch import nn


def as_clips(inputs: dict[str, torch.Tensor], model: nn.Module, *, repeat: bool) -> dict[str, torch.Tensor]:
    """Inputs as a model of video takes them; those of a model of images are given back.

    Args:
        inputs: A batch by name; pixels of shape ``(N, C, H, W)``, or ``(N, frames, C, H, W)``, which are clips.
        model: The network.
        repeat: Whether a single image may stand for a clip in which nothing moves.

    Raises:
        InputError: The images are single and may not be repeated.
    """
    frames = num_frames(model)
    pixels = inputs.get(PIXELS)
    if frames is None or pixels is None:
        return inputs
    if (
        pixels.ndim == 5 and pixels.shape[1] == 1
    ):  # a processor of clips took an image for a clip of one frame
        pixels = pixels[:, 0]
    if pixels.ndim != 4:
        return inputs
    if not repeat:
        raise InputError(
            f"{type(model).__name__} is a video model: it takes clips of {frames} frames; the images are single. "
            "Pass clips as tensors of shape (frames, 3, H, W), or give it each image as a clip in which nothing "
            "moves: repeat_frames=True, --repeat-frames."
        )
    return {**inputs, PIXELS: pixels[:, None].repeat(1, frames, 1, 1, 1)}
