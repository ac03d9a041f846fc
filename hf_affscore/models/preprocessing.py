"""Preprocessing of RGB images to model inputs: the checkpoint's processor, timm's transform, or a function."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hf_affscore import compat
from hf_affscore.errors import InputError, ModelError, warn
from hf_affscore.extras import require
from hf_affscore.models.vision_forward import GRID, IMAGES, PIXELS, VIDEOS, image_shape

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


#: Pillow's mode for a number of channels; a fourth channel added to an RGB image is opaque.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}

#: Largest aspect ratio of an image; of a longer image only the middle is used.
EXTREME = 16

#: Settings of processors that cut an image into tiles.
CUTS_TILES = ("do_image_splitting", "crop_to_patches", "do_pan_and_scan", "split_image")

#: Minimum width and height for processors of transformers: they would take 1 or 3 rows for channels.
LEAST_SIDE = 4


def default_processor(module: nn.Module) -> Callable[[Image], torch.Tensor]:
    """timm's own transform if the module has its settings, else the standard ImageNet evaluation transform."""
    if hasattr(module, "pretrained_cfg"):
        return timm_transform(module)
    return ImageNetTransform(max(image_shape(module)[1:]))


def timm_transform(module: nn.Module) -> Callable[[Image], torch.Tensor]:
    """timm's evaluation transform for a network; images are converted to grey if it takes one channel."""
    require("timm")
    from timm.data import create_transform, resolve_model_data_config

    settings = resolve_model_data_config(module, args={"input_size": image_shape(module)})
    transform: Callable[[Image], torch.Tensor] = create_transform(**settings)
    channels = settings["input_size"][0]
    if channels not in MODES:
        return TakesNoImages(type(module).__name__, channels)
    mode = MODES[channels]
    return transform if mode == "RGB" else Converted(mode, transform)


class TakesNoImages:
    """In place of a transform, for a network whose channels are not those of an image: only tensors fit."""

    def __init__(self, name: str, channels: int) -> None:
        self.name, self.channels = name, channels

    def __call__(self, image: Image) -> torch.Tensor:
        """Raise an error that says what fits."""
        raise InputError(
            f"{self.name} takes {self.channels} channels, which no image has; expected 1, 3 or 4. Pass tensors of "
            "its inputs as the data set, or processor=."
        )

    def __repr__(self) -> str:
        return f"no images, tensors of {self.channels} channels"


class Converted:
    """A transform that first converts images to another mode than RGB."""

    def __init__(self, mode: str, transform: Callable[[Image], torch.Tensor]) -> None:
        self.mode, self.transform = mode, transform

    def __call__(self, image: Image) -> torch.Tensor:
        """One RGB image as a tensor with the channels of the mode."""
        return self.transform(image.convert(self.mode))

    def __repr__(self) -> str:
        return f"convert({self.mode!r}), {self.transform!r}"


class ImageNetTransform:
    """The standard ImageNet evaluation transform: resize the shorter side, crop the centre, normalise.

    Warns at the first image, unless it was requested; ready tensors do not pass through it.
    """

    def __init__(self, size: int, *, asked_for: bool = False) -> None:
        from torchvision.transforms import v2

        self.size = size
        self.transform: Callable[[Image], torch.Tensor] = v2.Compose(
            [
                v2.Resize(round(size * 256 / 224), antialias=True),
                v2.CenterCrop(size),
                v2.PILToTensor(),
                _to_unit_range,
                v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )
        self.warned = asked_for

    def __call__(self, image: Image) -> torch.Tensor:
        """One RGB image as a normalised tensor."""
        if not self.warned:
            self.warned = True
            warn(
                f"The module has no image processor: images are resized to {self.size} x {self.size} and "
                "normalised as for ImageNet. Pass processor= for another preprocessing."
            )
        return self.transform(_middle(image))

    def __repr__(self) -> str:
        return f"ImageNet evaluation transform at {self.size} x {self.size}"


def _middle(image: Image) -> Image:
    """The middle of an image with an extreme aspect ratio; other images are returned unchanged.

    Most processors resize the shorter side and crop afterwards: a strip of 1 x 12,000 pixels would take 2.4 GB, of
    which they keep one 12,000th.
    """
    width, height = image.size
    longest = EXTREME * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, min(width, left + longest), min(height, top + longest)))


def _enlarged(image: Image) -> Image:
    """An image, enlarged by repeating its pixels if it has fewer than :data:`LEAST_SIDE` rows or columns."""
    from PIL.Image import Resampling

    if min(image.size) >= LEAST_SIDE:
        return image
    width, height = image.size
    return image.resize((width * LEAST_SIDE, height * LEAST_SIDE), Resampling.NEAREST)


def _to_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 255


def preprocessing_of(
    processor: Any,
) -> tuple[Callable[[list[Image]], dict[str, torch.Tensor]], dict[str, Any]]:
    """A function from a list of images to model inputs, and its description.

    Any processor gets only the middle of images with an aspect ratio above :data:`EXTREME`.
    """
    import torch
    from transformers.image_processing_base import ImageProcessingMixin

    if isinstance(processor, ImageProcessingMixin):
        processor = of_whole_images(copy.copy(processor))
        call = _call_of(processor)

        def process(images: list[Image]) -> dict[str, torch.Tensor]:
            sized = [_enlarged(_middle(image)) for image in images]
            made = call(sized)
            if (
                len(next(iter(made.values()))) == 1 < len(images)
            ):  # the images were taken for frames, or a conversation
                made = call([[image] for image in sized])
            if isinstance(made.get(PIXELS), list):
                made[PIXELS] = stack(made[PIXELS])
            if GRID in made:
                made[PIXELS] = _by_image(made[PIXELS], made[GRID])
            _check_rows(made, len(images), type(processor).__name__)
            return {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}

        settings = json.loads(json.dumps(processor.to_dict(), default=str))  # as JSON will return it
        backend = compat.backend_of(processor)
        return process, {"class": type(processor).__name__, "backend": backend, "settings": settings}
    if callable(processor):

        def transform(images: list[Image]) -> dict[str, torch.Tensor]:
            return {PIXELS: stack([processor(_middle(image)) for image in images])}

        return transform, {
            "class": type(processor).__name__,
            "backend": "callable",
            "settings": repr(processor),
        }
    raise InputError(
        f"processor is a {type(processor).__name__}; expected an image processor of transformers, its Hub id or "
        'folder, "imagenet", or a function from a PIL image to a (3, H, W) tensor.'
    )


def of_whole_images(processor: Any) -> Any:
    """Switch off the tiling of a processor, so that each image stays one row."""
    for setting in CUTS_TILES:
        if getattr(processor, setting, False):
            setattr(processor, setting, False)
    return processor


def _call_of(processor: Any) -> Callable[[list[Any]], dict[str, Any]]:
    """How a processor of transformers is called on images; one of videos gets clips of one frame."""
    from transformers.video_processing_utils import BaseVideoProcessor

    if not isinstance(processor, BaseVideoProcessor):
        return lambda images: dict(processor(images=images, return_tensors="pt"))

    def of_videos(images: list[Image]) -> dict[str, Any]:
        clips = [[image] for image in images]
        made = dict(processor(videos=clips, return_tensors="pt", do_sample_frames=False))
        return {PIXELS: made.pop(VIDEOS), **made} if VIDEOS in made else made

    return of_videos


def _by_image(patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Packed patches by image, ``(N, most patches, d)``; smaller images are filled up with zeros.

    Args:
        patches: The patches of all images, one after the other, ``(patches, d)``.
        grid: The numbers of frames, rows and columns of patches of each image, ``(N, 3)``.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    numbers = grid.prod(-1).tolist()
    if sum(numbers) != len(patches):
        return patches  # a processor that packs in another way: refused by _check_rows
    return pad_sequence(list(torch.split(patches, numbers)), batch_first=True)


def _check_rows(made: dict[str, Any], number: int, processor: str) -> None:
    """Check that there is one entry per image.

    Raises:
        ModelError: The patches or tiles of all images are concatenated.
    """
    pixels = next((made[name] for name in IMAGES if name in made), None)
    if pixels is not None and len(pixels) != number:
        raise ModelError(
            f"{processor} makes {len(pixels)} patches or tiles of {number} image(s), one after the other, so that "
            "no row belongs to one image; expected one entry per image. Pass another processor=, or the part "
            "of the model that takes whole images."
        )


def stack(images: Sequence[Any]) -> torch.Tensor:
    """Ready ``(C, H, W)`` tensors, or clips of shape ``(frames, C, H, W)``, as one batch.

    Raises:
        InputError: They are not tensors, or not all of one such shape.
    """
    import torch

    others = sorted({type(image).__name__ for image in images if not isinstance(image, torch.Tensor)})
    if others:
        raise InputError(
            f"The images of one batch became {', '.join(others)}; expected torch tensors of shape (3, H, W). "
            "Pass a processor that gives those."
        )
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) != 1 or len(shapes[0]) not in (3, 4):
        raise InputError(
            f"The images of one batch became tensors of shapes {shapes}; expected one (3, H, W). "
            "Pass a processor that resizes to a fixed size, or batch_size=1."
        )
    return torch.stack(list(images))
