"""The folders that analyses leave on disk, finished or interrupted: list them, remove them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hf_affscore.errors import SignatureError
from hf_affscore.fileformat import JSON_FILE, TABLE_FILE

ASKED_FILE = "asked.json"


def cache_folder() -> Path:
    """``$HF_AFFSCORE_CACHE``, or ``hf_affscore`` inside ``$HF_HOME``."""
    from huggingface_hub.constants import HF_HOME

    return Path(os.environ.get("HF_AFFSCORE_CACHE") or Path(HF_HOME) / "hf_affscore")


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """One analysis in the cache.

    Attributes:
        key: Name of its folder.
        asked: What it was asked for.
        finished: Whether the signature is there; otherwise it can be resumed.
        size: Bytes on disk.
    """

    key: str
    asked: dict[str, Any]
    finished: bool
    size: int


def cache_entries() -> list[CacheEntry]:
    """What the cache holds, by key."""
    entries = []
    for path in sorted(cache_folder().glob(f"*/{ASKED_FILE}")):
        folder = path.parent
        size = sum(file.stat().st_size for file in folder.iterdir())
        finished = (folder / JSON_FILE).exists() and (folder / TABLE_FILE).exists()
        entries.append(CacheEntry(folder.name, json.loads(path.read_bytes()), finished, size))
    return entries


def remove_from_cache(key: str) -> None:
    """Remove one entry.

    Raises:
        SignatureError: There is none of that key.
    """
    keys = [entry.key for entry in cache_entries()]
    if key not in keys:
        raise SignatureError(f"The cache has no entry {key!r}; it has {', '.join(keys) or 'none'}.")
    shutil.rmtree(cache_folder() / key)
