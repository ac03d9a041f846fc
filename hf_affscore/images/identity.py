"""What an encoded image is known by, so that work done on it is recognised: its content, or its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np


def identity(item: Any) -> str | None:
    """What an item of a stream is known by; None for one that says nothing about itself, such as a row number.

    Bytes and pixels are known by their content. A file on disk is known by its path, size and time of change, as
    in :func:`hf_affscore.sources.dataset_checksum`; a file at an address by the address, which names a commit.

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
    if isinstance(item, bytes):
        return f"content:{hashlib.sha256(item).hexdigest()[:32]}"
    if isinstance(item, np.ndarray):
        return f"pixels:{item.shape} {item.dtype} {hashlib.sha256(item.tobytes()).hexdigest()[:32]}"
    return _of_file(item) if isinstance(item, str) else None


def _of_file(path: str) -> str:
    place = path.split("::")[-1].removeprefix("file://")  # the archive around a file, where there is one
    if "://" in place:
        return path
    try:
        stat = os.stat(place)
    except OSError:
        return f"{path} missing"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
