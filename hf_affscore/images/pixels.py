"""Convert any image or array of pixels to upright 8-bit RGB.

Range of values
---------------
Images with 8 bits per channel are used unchanged. Others are scaled by their declared range, or else by the range
of the values in a data set, so that no data set becomes all black. One range holds for all images, so that their
brightness can be compared; it is found in the first images of a draw (:mod:`hf_affscore.images.ranges`):

- Integers up to 255, 1,023 or 4,095 are taken as 8, 10 or 12 bits, others up to 65,535 as 16. A 12-bit TIFF
  declares its range.
- Floating point: 0 to 1; or 0 to 255 if the largest value is more than half of that.
- Anything else (negative values, depths in metres): the minimum becomes black, the maximum white.

Infinite values become the nearest finite value, NaN the minimum. Transparency is dropped; the colours are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Extremes(NamedTuple):
    """The least and the largest value of images, and whether they are integers."""

    whole: bool
    least: float
    largest: float


@dataclass(frozen=True)
class Scale:
    """The values of black and white for images of more than 8 bits.

    Attributes:
        integers: For integer values; None: the range of each image.
        floats: For floating-point values; None: the range of each image.
    """

    integers: tuple[float, float] | None = None
    floats: tuple[float, float] | None = None

    @classmethod
    def of(cls, found: Iterable[Extremes]) -> Scale:
        """The range of all values, by the rules in the docstring of this module.

        Example:
            >>> Scale.of([Extremes(True, 0, 900), Extremes(True, 7, 4000), Extremes(False, 0.1, 0.2)])
            Scale(integers=(0, 4095), floats=(0, 1))
        """
        found = list(found)

        def shared(whole: bool) -> tuple[float, float] | None:
            of_kind = [each for each in found if each.whole == whole]
            if not of_kind:
                return None
            least, largest = min(each.least for each in of_kind), max(each.largest for each in of_kind)
            return _range(least, largest, whole, None)

        return cls(shared(True), shared(False))


#: The range of each image for itself.
BY_IMAGE = Scale()


def to_rgb(image: Image, mode: str | None = None, scale: Scale = BY_IMAGE) -> Image:
    """Any PIL image as 8-bit RGB, upright.

    Args:
        image: An image in any of Pillow's modes; if it has several frames, the current one is used.
        mode: The mode that a data set declares (``datasets.Image(mode="L")``); the image is converted to it first.
        scale: The range of more than 8 bits.

    Raises:
        ValueError: Its mode cannot be converted, or it has no finite value.
        Exception: Any error of Pillow's decoders, since the file is read when its pixels are first needed.
    """
    from PIL.Image import Transpose

    image.load()
    turn = TURNS.get(orientation(image))  # read before conversion, which drops it
    image = _eight_bits(image, scale)
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


def from_array(values: Any, scale: Scale = BY_IMAGE) -> Image:
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
        array = eight_bits(array, scale=scale)
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


def extremes(values: Array) -> Extremes | None:
    """The extremes of an array; None if its values are 8-bit, or none is finite."""
    if values.dtype.kind not in "iuf" or values.dtype == np.uint8:
        return None
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    return Extremes(values.dtype.kind != "f", float(finite.min()), float(finite.max()))


def eight_bits(values: Array, bits: int | None = None, scale: Scale = BY_IMAGE) -> Array:
    """Numbers as uint8, from 0 for black to 255 for white; ``bits`` is their bit depth, if known.

    Raises:
        ValueError: No value is finite.

    Example:
        >>> eight_bits(np.array([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
        >>> eight_bits(np.array([0, 4095])).tolist()
        [0, 255]
        >>> eight_bits(np.array([0, 4095]), scale=Scale(integers=(0, 65535))).tolist()
        [0, 16]
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if finite.size == 0:
        raise ValueError("none of its values is finite")
    least, largest = float(finite.min()), float(finite.max())
    whole = values.dtype.kind != "f"
    shared = None if bits else (scale.integers if whole else scale.floats)
    low, high = shared or _range(least, largest, whole, bits)
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


def extremes_of_image(image: Image) -> Extremes | None:
    """The extremes of a PIL image; None if it has 8 bits per value, or declares its range."""
    return extremes(np.asarray(image)) if _is_deep(image) and _declared_bits(image) is None else None


def _eight_bits(image: Image, scale: Scale) -> Image:
    """An image with more than 8 bits per value as 8-bit; other images are returned unchanged."""
    from PIL import Image as Images

    if not _is_deep(image):
        return image
    return Images.fromarray(eight_bits(np.asarray(image), _declared_bits(image), scale))


def _is_deep(image: Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _declared_bits(image: Image) -> int | None:
    """The bit depth that a file declares, if it is less than that of its values."""
    declared = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE)
    bits = declared[0] if isinstance(declared, tuple) else declared
    return 12 if bits == 12 else None
