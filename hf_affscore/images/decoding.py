"""One item of a data set becomes one image: fetched where it lies elsewhere, 8-bit RGB and upright, or a tensor."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hf_affscore.compat import client_error
from hf_affscore.errors import DatasetError, InputError, shown_cause

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    Decoded: TypeAlias = Image | torch.Tensor

#: What Pillow raises for damaged files, by format.
UNREADABLE = (OSError, SyntaxError, ValueError, RuntimeError)


class Undecodable(Exception):
    """One item of a stream is not an image that can be read."""


def decode(item: Any) -> Decoded:
    """An item of an image column: ``{"bytes", "path"}``, or something that already is an image."""
    if isinstance(item, Undecodable):
        raise item
    if item is None:
        raise Undecodable("the image is missing")
    if isinstance(item, dict) and item.keys() <= {"bytes", "path"}:
        source = item.get("path") if item.get("bytes") is None else item["bytes"]
        if source is None:
            raise Undecodable("the image is missing")
        return _open(source, item.get("path"))
    if isinstance(item, bytes):
        return _open(item)
    return as_image(item)


def is_remote(item: Any) -> bool:
    """Whether an item names a file that is to be read over a connection, or out of an archive."""
    return isinstance(item, dict) and item.get("bytes") is None and "://" in (item.get("path") or "")


def fetch(item: dict[str, Any], token: str | bool | None) -> dict[str, Any] | Undecodable:
    """An item that :func:`is_remote` with the bytes of its file, or why it is none that can be read.

    Raises:
        DatasetError: No access, or the connection broke and the Hub's client has tried again for long enough.
    """
    from datasets import DownloadConfig
    from datasets.download.streaming_download_manager import xopen
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    name = _file_name(item["path"])
    try:
        with xopen(item["path"], "rb", download_config=DownloadConfig(token=token)) as file:
            return {**item, "bytes": file.read()}
    except (OSError, client_error(), ImportError) as error:
        no_access = isinstance(error.__cause__, RepositoryNotFoundError | RevisionNotFoundError)
        if isinstance(error, FileNotFoundError) and not no_access:
            return Undecodable(f"there is no such file ({name})")
        said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DatasetError(
            f"Reading {name} of the data set failed: {said}. Check the network and the token, then start again: "
            "what an analysis has in the cache is not done twice."
        ) from shown_cause(error)
    except Exception as error:  # a broken archive, an address that is none
        return Undecodable(_reason(error, item["path"]))


def _open(source: bytes | str, path: str | None = None) -> Image:
    """An encoded image, from its bytes or from a path that ``datasets`` may have made a URL."""
    from datasets.download.streaming_download_manager import xopen
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(source, bytes):
            return to_rgb(Image.open(io.BytesIO(source)))
        with xopen(source, "rb") as file:
            return to_rgb(Image.open(file))
    except (*UNREADABLE, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Undecodable(_reason(error, path)) from error


def _reason(error: Exception, path: str | None = None) -> str:
    """What an error says, fit to be published: with the file's name, without its folder or places in memory.

    Example:
        >>> _reason(OSError("image file is truncated"), "/home/me/images/cat.png")
        'image file is truncated (cat.png)'
    """
    text = re.sub(r" *<[^<>]*>", "", str(error))
    if not path:
        return text
    name = _file_name(path)
    text = text.replace(path, name)
    return text if name in text else f"{text} ({name})"


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path.split("::")[0])[-1]


def as_image(item: Any) -> Decoded:
    """Something that already is an image: a PIL one to RGB, a tensor as it is."""
    import torch
    from PIL.Image import Image

    if isinstance(item, Image):
        try:
            return to_rgb(item)
        except UNREADABLE as error:  # Pillow reads a file when its pixels are first needed
            raise Undecodable(_reason(error)) from error
    if isinstance(item, torch.Tensor):
        if item.ndim != 3:
            raise InputError(f"An image tensor has shape {tuple(item.shape)}; expected (3, H, W).")
        if item.is_meta:
            raise InputError(
                "An image tensor is on the meta device, which has no pixels; expected real ones."
            )
        if not item.is_floating_point():
            raise InputError(
                f"An image tensor is of type {item.dtype}; expected ready, normalised floating point pixels. "
                "Pass PIL images to have them preprocessed."
            )
        return item
    kind = "text" if isinstance(item, str) else f"a {type(item).__name__}"
    raise InputError(
        f"An item of the data set is {kind}; expected a PIL image or a (3, H, W) tensor. "
        "If the data set has several columns, choose one with image_column (--image-column)."
    )


def to_rgb(image: Image) -> Image:
    """Any PIL image as 8-bit RGB, upright.

    Grey and palette images are expanded, alpha is dropped, CMYK is converted; 16-bit grey is scaled to 8 bits
    (Pillow by itself clips it), and the orientation that a camera recorded is applied.
    """
    from PIL import Image, ImageOps

    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.rint(pixels / 257), 0, 255).astype(np.uint8))
    elif image.mode == "F":
        pixels = np.asarray(image, dtype=np.float64)
        finite = pixels[np.isfinite(pixels)] if np.isfinite(pixels).any() else np.zeros(1)
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=finite.max(), neginf=finite.min())
        low, high = pixels.min(), pixels.max()
        image = Image.fromarray(np.rint((pixels - low) / ((high - low) or 1) * 255).astype(np.uint8))
    elif image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # Pillow warns about the direct way
    return ImageOps.exif_transpose(image).convert("RGB")
