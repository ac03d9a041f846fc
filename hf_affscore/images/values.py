"""Detect whether a value of a data set is an image, and in which form."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from hf_affscore.errors import DatasetError
from hf_affscore.images.decoding import PLUGINS
from hf_affscore.images.pixels import channel_axis

#: File extensions of images: the formats that Pillow reads, alone or with a plug-in.
IMAGE_ENDINGS = frozenset(
    (
        *("apng", "avif", "avifs", "blp", "bmp", "bw", "cur", "dcx", "dds", "dib", "fit", "fits", "flc"),
        *("fli", "gif", "heic", "heif", "hif", "icb", "icns", "ico", "im", "j2c", "j2k", "jfif", "jp2"),
        *("jpc", "jpe", "jpeg", "jpf", "jpg", "jpx", "jxl", "mpo", "msp", "pbm", "pcd", "pcx", "pfm"),
        *("pgm", "png", "pnm", "ppm", "psd", "qoi", "ras", "rgb", "rgba", "sgi", "tga", "tif", "tiff"),
        *("vda", "vst", "webp", "xbm", "xpm"),
    )
)

VIDEO_ENDINGS = frozenset(("avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "webm", "wmv"))

#: How the bytes of a video file begin, apart from those of HEIC and AVIF images.
_VIDEO = re.compile(rb".{4}ftyp(?!avi[fs]|hei|hev|mif1|msf1)|\x1aE\xdf\xa3|RIFF.{4}AVI ", re.DOTALL)

#: Minimum height and width of an array in a column that is not declared as images: boxes and points are smaller.
LEAST_SIDE = 8


#: How ``datasets`` stores an image, or any other file.
_FILE = {"bytes", "path"}


class NoImages(DatasetError):
    """A table or archive holds no images."""


class Kind(IntEnum):
    """The forms of images, most likely first; clips only where they are looked for."""

    CLIP = -1
    READY = 0
    IMAGE = 1
    ENCODED = 2
    ARRAY = 3
    FILE = 4
    NONE = 5


def kind_of(value: Any, name: str, asked: bool = False, clips: bool = False) -> tuple[Kind, bool]:
    """The form in which a value is an image, and whether it is a list of images.

    Args:
        value: A value of an example.
        name: Name of the column; an address without a file extension counts as an image if the name suggests it.
        asked: Whether the user chose this column: anything that can be an image then counts as one.
        clips: Whether videos and lists of images are looked for: they are clips.

    Example:
        >>> kind_of("photos/CAT.JPG", "file")
        (<Kind.FILE: 4>, False)
        >>> kind_of([7, 8], "label")
        (<Kind.NONE: 5>, False)
    """
    if clips and is_clip(value):
        return Kind.CLIP, False
    kind = _single(value, name, asked)
    if kind is not Kind.NONE or not isinstance(value, list | tuple | np.ndarray) or len(value) == 0:
        return kind, False
    first = next((part for part in value if part is not None), None)
    kind = _single(first, name, asked)
    listed = kind is not Kind.NONE
    return Kind.CLIP if listed and clips else kind, listed


def is_clip(value: Any) -> bool:
    """Whether a value is a clip in one piece: a video file, a decoder of torchcodec, or a tensor of frames."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and value.ndim == 4
    return hasattr(value, "get_frames_at") or is_video(value)


def is_video(value: Any) -> bool:
    """Whether a value is a video file: its bytes, its path, or ``{"bytes", "path"}``."""
    if isinstance(value, dict):
        return is_video(value.get("path")) or is_video(value.get("bytes"))
    if isinstance(value, bytes):
        return _VIDEO.match(value) is not None
    return isinstance(value, str) and ending(value) in VIDEO_ENDINGS


def _single(value: Any, name: str, asked: bool) -> Kind:
    import torch
    from PIL.Image import Image

    if isinstance(value, torch.Tensor):
        if value.is_floating_point() and value.ndim in (3, 4):
            return Kind.READY
        return _array(value.numpy(force=True), asked)
    if isinstance(value, Image):
        return Kind.IMAGE
    if isinstance(value, dict) and value and value.keys() <= {"bytes", "path"}:
        if value.get("bytes") is None:
            return _single(value.get("path"), name, asked)
        value = value["bytes"]
    if isinstance(value, bytes):
        return Kind.ENCODED if is_encoded(value) else Kind.NONE
    if isinstance(value, str | Path):
        return Kind.FILE if _names_an_image(str(value), name, asked) else Kind.NONE
    if isinstance(value, list | np.ndarray):
        try:
            return _array(np.asarray(value), asked)
        except Exception:  # rows of different lengths, or values that are not numbers
            return Kind.NONE
    return Kind.NONE


def is_encoded(data: bytes) -> bool:
    """Whether bytes are an image, by their beginning, in a format that Pillow reads alone or with a plug-in."""
    from PIL import Image

    if any(re.match(plugin.start, data, re.DOTALL) for plugin in PLUGINS):
        return True
    try:
        Image.open(io.BytesIO(data))
    except Exception:  # another library's parser, on arbitrary bytes
        return False
    return True


def _array(array: np.ndarray[Any, Any], asked: bool) -> Kind:
    axis = channel_axis(array.shape)
    if array.dtype.kind not in "buif" or array.size == 0 or (array.ndim != 2 and axis is None):
        return Kind.NONE
    if asked:
        return Kind.ARRAY
    sides = [side for number, side in enumerate(array.shape) if number != axis]
    if min(sides) < LEAST_SIDE:
        return Kind.NONE
    if array.dtype.kind == "f":
        return Kind.NONE if axis is None else Kind.ARRAY
    few = array.dtype == np.uint16 or (array.min() >= 0 and array.max() <= 255)
    return Kind.ARRAY if few else Kind.NONE


def _names_an_image(text: str, name: str, asked: bool) -> bool:
    if "\n" in text or len(text) > 4096:
        return False
    if ending(re.split(r"[?#]", text)[0] if "://" in text else text) in IMAGE_ENDINGS:
        return True
    address = text.startswith(("http://", "https://"))
    return address and (asked or bool(re.search(r"image|img|photo|picture", name.lower())))


def ending(name: str) -> str:
    """The extension of a file's name in lower case, without the dot.

    Example:
        >>> ending("photos.d/CAT.JPG")
        'jpg'
    """
    last = re.split(r"[/\\]", name)[-1]
    return last.rpartition(".")[2].lower() if "." in last.lstrip(".") else ""


def described(value: Any) -> str:
    """A short description of a value.

    Example:
        >>> described("a dog"), described(7), described([[1, 2]])
        ("text ('a dog')", 'numbers (7)', 'lists')
    """
    if isinstance(value, str):
        shown = value if len(value) <= 40 else f"{value[:40]}..."
        return f"text ({shown!r})"
    if isinstance(value, bool | int | float | np.number):
        return f"numbers ({value})"
    if isinstance(value, bytes):
        return f"bytes that are not an image ({value[:8]!r}...)"
    if isinstance(value, np.ndarray):
        return f"arrays of shape {value.shape}"
    if isinstance(value, dict):
        return f"fields ({', '.join(map(str, value))})"
    return "lists" if isinstance(value, list) else f"values of type {type(value).__name__}"


def is_missing(value: Any) -> bool:
    """Whether a value holds nothing."""
    if isinstance(value, dict):
        return all(map(is_missing, value.values()))
    return value is None or (isinstance(value, list | str | bytes) and len(value) == 0)


def first_of(values: Any) -> Any:
    """The first item of a list; None, a missing image, if the list is empty."""
    return None if values is None or len(values) == 0 else values[0]


def leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of an example that is not a nested dictionary, with its keys."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and not value[0].keys() <= _FILE:
        value = value[0]
    if isinstance(value, dict) and not (keys and value.keys() <= _FILE):
        for name, part in value.items():
            yield from leaves(part, (*keys, str(name)))
    else:
        yield keys, value


def is_inside_list(example: Any, keys: tuple[str, ...]) -> bool:
    """Whether a nested field lies in a list of several parts.

    Example:
        >>> is_inside_list({"pages": [{"scan": 1}, {"scan": 2}]}, ("pages", "scan"))
        True
    """
    for key in keys:
        if not isinstance(example, dict):
            break
        example = example.get(key)
        if isinstance(example, list) and key is not keys[-1]:
            return len(example) > 1
    return False
