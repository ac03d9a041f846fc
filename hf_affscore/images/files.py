"""Open local and remote files of a data set for random access or for one sequential read."""

from __future__ import annotations

import os
from typing import BinaryIO


def opened(path: str, token: str | bool | None, *, whole: bool = False) -> BinaryIO:
    """Open a local or remote file.

    Args:
        path: Path or address.
        token: Access token for the Hub.
        whole: Read the file sequentially in one request; else only the requested parts are read.
    """
    if "://" not in path:
        return open(path, "rb")
    found: BinaryIO
    if path.startswith("hf://"):
        from huggingface_hub import HfFileSystem

        options = {"block_size": 0} if whole else {"cache_type": "none"}
        found = HfFileSystem(token=token).open(path, "rb", **options)
        return found
    from datasets import DownloadConfig
    from datasets.download.streaming_download_manager import xopen

    found = xopen(path, "rb", download_config=DownloadConfig(token=token))
    return found


def size_of_file(path: str, token: str | bool | None) -> float:
    """The size of a file in bytes; infinite if unknown."""
    if "://" not in path:
        return os.path.getsize(path)
    if not path.startswith("hf://"):
        return float("inf")
    from huggingface_hub import HfFileSystem

    return float(HfFileSystem(token=token).info(path)["size"])
