"""Decode one item of a data set to an upright 8-bit RGB image or a tensor; remote files are fetched first.

Parsers of other libraries can raise any error on damaged bytes. An error is reported for that image alone.
"""

from __future__ import annotations

import functools
import importlib
import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hf_affscore.compat import client_error
from hf_affscore.errors import DatasetError, InputError, redacted, shown_cause
from hf_affscore.images.metadata import only_orientation, without_metadata
from hf_affscore.images.pixels import (
    BY_IMAGE,
    Extremes,
    Scale,
    channel_axis,
    extremes,
    extremes_of_image,
    from_array,
    to_rgb,
)
from hf_affscore.sources import is_pointer

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    Decoded: TypeAlias = Image | torch.Tensor | list[Image]  # a list is a clip


class _Plugin(NamedTuple):
    """A format that Pillow reads with a plug-in.

    Attributes:
        start: Pattern of the first bytes of such a file.
        module: The module to import.
        register: Its function to call; if empty, the import is enough.
        package: The package to install.
    """

    start: bytes
    module: str
    register: str
    package: str


#: Formats that Pillow may not read without a plug-in.
PLUGINS = (
    _Plugin(
        rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "pillow_heif", "register_heif_opener", "pillow-heif"
    ),
    _Plugin(rb".{4}ftypavi[fs]", "pillow_avif", "", "pillow-avif-plugin"),
    _Plugin(rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n", "pillow_jxl", "", "pillow-jxl-plugin"),
)


class Undecodable(Exception):
    """One item of a stream is not a readable image."""


def decode(item: Any, scale: Scale = BY_IMAGE) -> Decoded:
    """An item of an image column as an image.

    Args:
        item: ``{"bytes", "path"}``, with ``"mode"`` if the data set declares one; encoded bytes; an array or nested
            lists; a PIL image or a tensor.
        scale: The range of more than 8 bits.

    Raises:
        Undecodable: It is not a readable image.
        InputError: It is of a type that cannot be an image.
    """
    if isinstance(item, dict) and item.keys() <= {"bytes", "path", "mode"}:
        source = item.get("path") if item.get("bytes") is None else item["bytes"]
        if source is None:
            raise Undecodable("the image is missing")
        return _read(source, item.get("path"), item.get("mode"), scale)
    if isinstance(item, bytes | bytearray | memoryview):
        return _read(bytes(item), None, None, scale)
    return as_image(item, scale)


def is_remote(item: Any) -> bool:
    """Whether an item names a file that is remote or in an archive."""
    return isinstance(item, dict) and item.get("bytes") is None and "://" in (item.get("path") or "")


def fetch(item: dict[str, Any], token: str | bool | None) -> dict[str, Any] | Undecodable:
    """A remote item with the bytes of its file, or the reason why it is unreadable.

    Raises:
        DatasetError: The file is not accessible, or the connection failed and the retries of the Hub's client
            were used up.
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
        if item["path"].startswith(("http://", "https://")):  # lists of addresses often have dead links
            return Undecodable(_reason(error, item["path"]))
        said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise DatasetError(
            f"Reading {name} of the data set failed: {said}. Check the network and the token, then start again: "
            "cached results of the analysis are reused."
        ) from shown_cause(error)
    except Exception as error:  # a broken archive, an invalid address
        return Undecodable(_reason(error, item["path"]))


def file_of(
    tokens: Mapping[str, str | bool | None], token: str | bool | None, item: Any
) -> Callable[[], Any] | None:
    """The function that fetches the file of a remote item, or those of a clip; None for other items.

    A data set that the user opened with ``datasets`` has the ``tokens`` of its repositories.
    """
    if isinstance(item, list) and any(map(is_remote, item)):
        jobs = [file_of(tokens, token, frame) for frame in item]
        pairs = list(zip(jobs, item, strict=True))
        return lambda: [job() if job else frame for job, frame in pairs]
    if not is_remote(item):
        return None
    theirs = (of_repo for repo, of_repo in tokens.items() if f"datasets/{repo}@" in item["path"])
    return functools.partial(fetch, item, next(theirs, None) or token)


def _read(source: bytes | str, path: str | None, mode: str | None, scale: Scale) -> Image:
    try:
        return _picture(_content(source), mode, scale)
    except Exception as error:
        raise Undecodable(_reason(error, path)) from error


def _content(source: bytes | str) -> bytes:
    """The bytes of a file, given by themselves or by a path, which ``datasets`` may have turned into a URL."""
    from datasets.download.streaming_download_manager import xopen

    if isinstance(source, bytes):
        return source
    with xopen(source, "rb") if "://" in source else open(source, "rb") as file:
        content: bytes = file.read()
        return content


def _picture(data: bytes, mode: str | None, scale: Scale) -> Image:
    """The image in a file; if Pillow fails, a plug-in is tried, or the file without its metadata."""
    try:
        return to_rgb(_opened(data), mode, scale)
    except Exception:
        plugin = next((plugin for plugin in PLUGINS if re.match(plugin.start, data, re.DOTALL)), None)
        if plugin is not None:
            _register(plugin)
            return to_rgb(_opened(data), mode, scale)
        bare = without_metadata(data)
        if bare == data:
            raise
        try:
            return to_rgb(_opened(bare), mode, scale)
        except Exception:  # report the first error
            pass
        raise


def _opened(data: bytes) -> Image:
    from PIL import Image

    if is_pointer(data):
        raise Undecodable("it is a Git LFS pointer: download the file with `git lfs pull`")
    image = Image.open(io.BytesIO(data))
    if image.format == "TIFF":
        only_orientation(image)
    return image


def _register(plugin: _Plugin) -> None:
    try:
        module = importlib.import_module(plugin.module)
        if plugin.register:
            getattr(module, plugin.register)()
    except ImportError:
        raise Undecodable(f"Pillow alone does not read its format: pip install {plugin.package}") from None


def _reason(error: Exception, path: str | None = None) -> str:
    """The message of an error, safe to publish: with the file's name, without its folder or memory addresses.

    Example:
        >>> _reason(OSError("image file is truncated"), "/home/me/images/cat.png")
        'image file is truncated (cat.png)'
    """
    text = redacted(" ".join(re.sub(r" *<[^<>]*>", "", str(error)).split())) or type(error).__name__
    if not path:
        return text
    name = _file_name(path)
    text = text.replace(path, name)
    return text if name in text else f"{text} ({name})"


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path.split("::")[0])[-1]


def extremes_of(item: Any) -> Extremes | None:
    """The extremes of the values of an item; None if they are 8-bit, ready or unreadable."""
    import torch
    from PIL.Image import Image

    try:
        if isinstance(item, dict):
            item = item["path"] if item.get("bytes") is None else item["bytes"]
        if isinstance(item, bytes | str):
            with _opened(_content(item)) as image:
                return extremes_of_image(image)
        if isinstance(item, Image):
            return extremes_of_image(item)
        if isinstance(item, torch.Tensor):
            return None if item.is_floating_point() else extremes(item.numpy(force=True))
        array = np.asarray(item)
        return None if _is_ready(array) else extremes(array)
    except Exception:  # said where it is decoded
        return None


def _is_ready(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind == "f" and channel_axis(array.shape) == 0


def as_image(item: Any, scale: Scale = BY_IMAGE) -> Decoded:
    """An item that is already decoded: PIL images, arrays and integer tensors are converted to RGB.

    Floating-point tensors and floating-point arrays ``(C, H, W)`` are ready and returned unchanged.
    """
    import torch
    from PIL.Image import Image

    if isinstance(item, Undecodable):
        raise item
    if item is None:
        raise Undecodable("the image is missing")
    if isinstance(item, Image):
        try:
            return to_rgb(item, scale=scale)
        except Exception as error:  # Pillow reads a file when its pixels are first needed
            raise Undecodable(_reason(error)) from error
    if isinstance(item, torch.Tensor) and not item.is_floating_point() and not item.is_meta:
        item = item.numpy(force=True)
    if isinstance(item, np.ndarray | list):
        try:
            array = np.asarray(item)
            if _is_ready(array):
                return torch.from_numpy(np.array(array, np.float32))
            return to_rgb(from_array(array, scale))
        except Exception as error:  # lists may hold anything
            raise Undecodable(_reason(error)) from error
    if isinstance(item, torch.Tensor):
        if item.ndim not in (3, 4):
            shape = tuple(item.shape)
            raise InputError(
                f"An image tensor has shape {shape}; expected (3, H, W), or (frames, 3, H, W) for a clip."
            )
        if item.is_meta:
            raise InputError(
                "An image tensor is on the meta device, which has no pixels; expected real ones."
            )
        return item
    kind = "text" if isinstance(item, str) else f"a {type(item).__name__}"
    raise InputError(
        f"An item of the data set is {kind}; expected a PIL image or a (3, H, W) tensor. "
        "If the data set has several columns, choose one with image_column (--image-column)."
    )


def ready_tensor(item: Any) -> torch.Tensor | None:
    """An item that is used unchanged, as a tensor; None for an image, and for what is neither."""
    import torch

    try:
        made = as_image(item) if isinstance(item, torch.Tensor | np.ndarray | list) else None
    except (Undecodable, InputError):  # said where it is decoded
        return None
    return made if isinstance(made, torch.Tensor) else None
