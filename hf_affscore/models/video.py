"""Video models: they take clips from the data set, or a repeated image if the user asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hf_affscore.errors import InputError
from hf_affscore.models.vision_forward import PIXELS, num_frames

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
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
            "Pass clips as lists of images, a folder with a folder of frames for each clip, videos, or tensors of "
            "shape (frames, 3, H, W); or repeat each image as a static clip: repeat_frames=True, --repeat-frames."
        )
    return {**inputs, PIXELS: pixels[:, None].repeat(1, frames, 1, 1, 1)}


def by_clip(
    prepare: Callable[[list[Image]], dict[str, torch.Tensor]], clips: Sequence[list[Image]], model: nn.Module
) -> dict[str, torch.Tensor]:
    """Clips as a batch of pixels ``(N, frames, C, H, W)``; every frame is preprocessed as an image.

    Args:
        prepare: Preprocesses a list of images.
        clips: Clips of equal numbers of frames.
        model: The network.

    Raises:
        InputError: The network takes single images.
    """
    if num_frames(model) is None:
        raise InputError(
            f"The data set has clips, and {type(model).__name__} takes single images; expected a video model. "
            "Pass one frame of each clip."
        )
    pixels = prepare([frame for clip in clips for frame in clip])[PIXELS]
    pixels = (
        pixels[:, 0] if pixels.ndim == 5 else pixels
    )  # a video processor takes an image for a clip of one frame
    return {PIXELS: pixels.reshape(len(clips), len(clips[0]), *pixels.shape[1:])}
