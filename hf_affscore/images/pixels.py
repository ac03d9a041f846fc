"""Convert any image or array of pixels to upright 8-bit RGB.

Range of values
---------------
Images with 8 bits per channel are used unchanged. Others are scaled by their declared range, or else by the range
of their values, so that no image becomes all black:

- Integers up to 255, 1,023 or 4,095 are taken as 8, 10 or 12 bits, others up to 65,535 as 16. A 12-bit TIFF
  declares its range.
- Floating point: 0 to 1; or 0 to 255 if the largest value is more than half of that.
- Anything else (negative values, depths in metres): the minimum becomes black, the maximum white.

Infinite values become the nearest finite value, NaN the minimum. Transparency is dropped; the colours are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hf_affscore.images.metadata import orientation

if TYPE_CHECKING:
    from PIL.Image import Image

    Array = np.ndarray[Any, Any]

#: Bit depths of integers: the smallest that holds all values of an image is assumed.
BITS = (8, 10, 12, 16)

#: Numbers of channels that an image can have: grey, grey with alpha, RGB, RGB with alpha.
CHANNELS = (1, 2, 3, 4)

#: The TIFF tag for the number of bits per value.
BITS_PER_SAMPLE = 258

#: Pillow's transposition for each orientation.
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def to_rgb(image: Image, mode: str | None = None) -> Image:
    """Any PIL image as 8-bit RGB, upright.

    Args:
        image: An image in any of Pillow's modes; if it has several frames, the current one is used.
        mode: The mode that a data set declares (``datasets.Image(mode="L")``); the image is converted to it first.

    Raises:
        ValueError: Its mode cannot be converted, or it has no finite value.
        Exception: Any error of Pillow's decoders, since the file is read when its pixels are first needed.
    """
    from PIL.Image import Transpose

    image.load()
    turn = TURNS.get(orientation(image))  # read before conversion, which drops it
    image = _eight_bits(image)
    if turn is not None:
        image = image.transpose(Transpose[turn])
    if "transparency" in image.info:  # for a palette it may be a table, about which Pillow warns
        image = image.copy()
        del image.info["transparency"]
    if mode is not None:
        image = image.convert("L" if mode[0] in "IF" else mode)
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGB")


def from_array(values: Any) -> Image:
    """An image from an array or nested lists: ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, C from 1 to 4.

    If both the first and the last axis can hold the channels, an axis of length three is preferred, then the last.

    Raises:
        ValueError: The values are not numbers, or the shape is another.

    Example:
        >>> from_array(np.zeros((3, 20, 30), np.uint8)).size
        (30, 20)
        >>> from_array([[0, 255], [255, 0]]).mode
        'L'
    """
    from PIL import Image

    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise ValueError(f"an array of {array.dtype} is not an image")
    axis = channel_axis(array.shape)
    if array.size == 0 or (axis is None and array.ndim != 2):
        raise ValueError(f"an array of shape {array.shape} is not an image")
    if array.dtype.kind == "b":
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        array = eight_bits(array)
    if axis is not None:
        array = np.moveaxis(array, axis, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array
    return Image.fromarray(np.ascontiguousarray(array))


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The channel axis of an array with three axes, 0 or 2; None if neither can hold channels."""
    if len(shape) != 3:
        return None
    for counts in ((3,), CHANNELS):
        for axis in (2, 0):
            if shape[axis] in counts:
                return axis
    return None


def eight_bits(values: Array, bits: int | None = None) -> Array:
    """Numbers as uint8, from 0 for black to 255 for white; ``bits`` is their bit depth, if known.

    Raises:
        ValueError: No value is finite.

    Example:
        >>> eight_bits(np.array([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
        >>> eight_bits(np.array([0, 4095])).tolist()
        [0, 255]
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if finite.size == 0:
        raise ValueError("none of its values is finite")
    least, largest = float(finite.min()), float(finite.max())
    low, high = _range(least, largest, values.dtype.kind != "f", bits)
    numbers = np.nan_to_num(numbers, nan=least, posinf=largest, neginf=least)
    scaled = np.rint((numbers - low) / (high - low) * 255)
    return scaled.clip(0, 255).astype(np.uint8)


def _range(least: float, largest: float, whole: bool, bits: int | None) -> tuple[float, float]:
    """The values of black and white, by the rules in the docstring of this module."""
    if least >= 0 and whole:
        for number in (bits,) if bits else BITS:
            if largest < 2**number:
                return 0, 2**number - 1
    elif least >= 0:
        if largest <= 1:
            return 0, 1
        if 127.5 < largest <= 255:
            return 0, 255
    if least == largest:
        return min(least, 0), max(largest, 0)
    return least, largest


def _eight_bits(image: Image) -> Image:
    """An image with more than 8 bits per value as 8-bit; other images are returned unchanged."""
    from PIL import Image as Images

    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    declared = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE)
    bits = declared[0] if isinstance(declared, tuple) else declared
    return Images.fromarray(eight_bits(np.asarray(image), 12 if bits == 12 else None))
