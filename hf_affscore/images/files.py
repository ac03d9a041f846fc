"""Files of a data set, here or elsewhere, opened for reading parts of them or from the beginning on."""

from __future__ import annotations

from typing import BinaryIO


def opened(path: str, token: str | bool | None, *, whole: bool = False) -> BinaryIO:
    """A local file, or one elsewhere.

    Args:
        path: Path or address.
        token: Access token for the Hub.
        whole: It is to be read from the beginning on, in one request; else nothing is read but what is asked for.
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
    """The bytes of a file elsewhere; infinite where that is not known."""
    if not path.startswith("hf://"):
        return float("inf")
    from huggingface_hub import HfFileSystem

    return float(HfFileSystem(token=token).info(path)["size"])
