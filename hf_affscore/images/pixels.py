"""Any picture, or array of one, as 8-bit RGB and upright.

Which value is white
--------------------
Most pictures have 8 bits a channel, and are taken as they are. Others are scaled by the range that they declare, or
else by the one that their values show, so that none becomes all black:

- Whole numbers from 0 to 255, 1,023 or 4,095 are of 8, 10 or 12 bits, others up to 65,535 of 16. A TIFF of 12 bits
  says so.
- Floating point: from 0 to 1; or from 0 to 255, where the largest is more than half of that.
- Anything else (negative values, depths in metres): the least becomes black, the largest white.

Infinite values become the nearest finite one, NaN the least. Transparency is dropped, the colours under it stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hf_affscore.images.metadata import orientation

if TYPE_CHECKING:
    from PIL.Image import Image

    Array = np.ndarray[Any, Any]

#: Numbers of bits that whole numbers are taken to have: the fewest that hold all of a picture's.
BITS = (8, 10, 12, 16)

#: Numbers of channels that a picture can have: grey, grey with transparency, colour, colour with transparency.
CHANNELS = (1, 2, 3, 4)

#: The tag of a TIFF that says how many bits a value has.
BITS_PER_SAMPLE = 258

#: What an orientation asks for, by the name of Pillow's transposition.
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
        image: In any of Pillow's modes; of several frames the current one.
        mode: The mode that a data set declares (``datasets.Image(mode="L")``), to which it is converted before.

    Raises:
        ValueError: Its mode cannot be converted, or it has no finite value.
        Exception: Whatever Pillow's decoders raise: a file is read when its pixels are first needed.
    """
    from PIL.Image import Transpose

    image.load()
    turn = TURNS.get(orientation(image))  # which converting would drop
    image = _eight_bits(image)
    if turn is not None:
        image = image.transpose(Transpose[turn])
    if "transparency" in image.info:  # of a palette it may be a table, which Pillow warns about
        image = image.copy()
        del image.info["transparency"]
    if mode is not None:
        image = image.convert("L" if mode[0] in "IF" else mode)
    if image.mode == "La":
        image = image.convert("LA")
    return image.convert("RGB")


def from_array(values: Any) -> Image:
    """A picture from an array, or from nested lists: ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, C from 1 to 4.

    Where both could hold the channels, three are more likely than another number, and the last axis than the first.

    Raises:
        ValueError: It is not of numbers, or not of such a shape.

    Example:
        >>> from_array(np.zeros((3, 20, 30), np.uint8)).size
        (30, 20)
        >>> from_array([[0, 255], [255, 0]]).mode
        'L'
    """
    from PIL import Image

    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise ValueError(f"an array of {array.dtype} is no image")
    axis = channel_axis(array.shape)
    if array.size == 0 or (axis is None and array.ndim != 2):
        raise ValueError(f"an array of shape {array.shape} is no image")
    if array.dtype.kind == "b":
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        array = eight_bits(array)
    if axis is not None:
        array = np.moveaxis(array, axis, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array
    return Image.fromarray(np.ascontiguousarray(array))


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of an array of three that holds the channels, 0 or 2; None where neither can."""
    if len(shape) != 3:
        return None
    for counts in ((3,), CHANNELS):
        for axis in (2, 0):
            if shape[axis] in counts:
                return axis
    return None


def eight_bits(values: Array, bits: int | None = None) -> Array:
    """Numbers as uint8, from 0 for black to 255 for white; of how many ``bits`` they are, where that is known.

    Raises:
        ValueError: None is finite.

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
    """What is black and what is white, as this module's docstring says."""
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
    """An image of more than 8 bits a value as one of 8; others as they are."""
    from PIL import Image as Images

    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    declared = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE)
    bits = declared[0] if isinstance(declared, tuple) else declared
    return Images.fromarray(eight_bits(np.asarray(image), 12 if bits == 12 else None))
