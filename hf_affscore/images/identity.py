"""The identity of an encoded image, its content or its file, by which cached results are found."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np


def identity(item: Any) -> str | None:
    """The identity of an item of a stream; None for an item without content or path, such as a row number.

    Bytes and pixels are identified by their content, local files by path, size and modification time, as in
    :func:`hf_affscore.sources.dataset_checksum`, and remote files by their address, which includes a commit.

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
    place = path.split("::")[-1].removeprefix("file://")  # the archive that contains the file, if any
    if "://" in place:
        return path
    try:
        stat = os.stat(place)
    except OSError:
        return f"{path} missing"
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
