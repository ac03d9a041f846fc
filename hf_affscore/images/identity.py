"""The identity of an image: of its file or content, for the cache, and of its pixels, for the signature."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hf_affscore.images.decoding import Decoded

#: A fingerprint is made of this many pixels along each side of an image, or of the square of it of a tensor.
_SIDE = 16


def identity(item: Any) -> str | None:
    """The identity of an item of a stream; None for an item without content or path, such as a row number.

    Bytes and pixels are identified by their content, local files by path, size and modification time, as in
    :func:`hf_affscore.checksums.dataset_checksum`, and remote files by their address, which includes a commit.

    Example:
        >>> identity({"bytes": b"abc", "path": "cat.png"}) == identity({"bytes": b"abc", "path": None})
        True
        >>> identity(3) is None
        True
    """
    if isinstance(item, Mapping):
        if item.get("bytes") is not None:
            return identity(item["bytes"])
        if "path" in item:
            return identity(item["path"])
        return identity(next(iter(item.values()))) if len(item) == 1 else None
    if isinstance(item, list | tuple):  # the frames of a clip
        frames = [identity(frame) for frame in item]
        return None if None in frames else identity("\n".join(map(str, frames)).encode())
    if isinstance(item, bytes):
        return f"content:{hashlib.sha256(item).hexdigest()[:32]}"
    if isinstance(item, np.ndarray):
        return f"pixels:{item.shape} {item.dtype} {hashlib.sha256(item.tobytes()).hexdigest()[:32]}"
    return _of_file(item) if isinstance(item, str) else None


def path_of(item: Any) -> str | None:
    """The file of an item of a stream, also where it is held by memory; of a clip that of its first frame.

    Example:
        >>> path_of({"bytes": b"abc", "path": "cat.png"}), path_of(b"abc")
        ('cat.png', None)
    """
    if isinstance(item, Mapping):
        return path_of(item["path"] if "path" in item else next(iter(item.values()), None))
    if isinstance(item, list | tuple):
        return path_of(item[0]) if item else None
    return item if isinstance(item, str) else None


def local_files(item: Any) -> Iterator[str]:
    """The local files that hold an item of a stream; none for an item that is held by memory or a remote file.

    Example:
        >>> list(local_files([{"bytes": None, "path": "zip://cat.png::/home/all.zip"}, b"abc"]))
        ['/home/all.zip']
    """
    if isinstance(item, Mapping):
        if item.get("bytes") is None:
            yield from local_files(item["path"] if "path" in item else list(item.values()))
    elif isinstance(item, list | tuple):
        for part in item:
            yield from local_files(part)
    elif isinstance(item, str) and "://" not in (place := _place(item)):
        yield place


def _place(path: str) -> str:
    """The file itself, or the archive that contains it."""
    return path.split("::")[-1].removeprefix("file://")


def _of_file(path: str) -> str | None:
    place = _place(path)
    if "://" in place:
        return None if place.startswith("hf://buckets/") else path  # a bucket has no commit
    try:
        stat = os.stat(place)
    except OSError:
        return f"{path} missing"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def fingerprint(image: Decoded) -> str:
    """A short digest of a decoded image, from a grid of its pixels and its size.

    It does not depend on where the image is stored, so that signatures from two machines can be recognised as
    signatures on the same images. It is made of a few pixels only, which takes microseconds for any size.

    Example:
        >>> from PIL import Image
        >>> fingerprint(Image.new("RGB", (64, 64))) == fingerprint(Image.new("RGB", (64, 64), "red"))
        False
    """
    if isinstance(image, list):
        return hashlib.sha256("".join(map(fingerprint, image)).encode()).hexdigest()[:16]
    size: Any
    if hasattr(image, "getbands"):
        from PIL.Image import Resampling

        size = image.size
        content = image.resize((_SIDE, _SIDE), Resampling.NEAREST).tobytes()
    else:
        values = image.detach().reshape(-1)
        values = values[:: max(1, values.numel() // _SIDE**2)]
        size = tuple(image.shape)
        content = values.cpu().double().numpy().tobytes()
    return hashlib.sha256(f"{size}".encode() + content).hexdigest()[:16]
