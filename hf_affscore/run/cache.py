"""The folders that analyses leave on disk, finished or interrupted: list them, remove them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from hf_affscore.errors import SignatureError
from hf_affscore.fileformat import JSON_FILE, TABLE_FILE
from hf_affscore.options import Options

ASKED_FILE = "asked.json"

#: Names of the folders of analyses; nothing else in the cache folder is touched.
KEY = re.compile("[0-9a-f]{16}")


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
        changed: When a file of it was last written, ISO 8601, UTC.
    """

    key: str
    asked: dict[str, Any]
    finished: bool
    size: int
    changed: str

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that have another value than their default; a device, where it is no CPU."""
        usual = {**Options().recorded(), "device": "cpu"}
        return {name: value for name, value in self.asked["options"].items() if usual.get(name) != value}


def cache_entries() -> list[CacheEntry]:
    """What the cache holds, by key."""
    entries = []
    folders = cache_folder().iterdir() if cache_folder().is_dir() else ()
    for folder in sorted(folder for folder in folders if KEY.fullmatch(folder.name) and folder.is_dir()):
        files = [file.stat() for file in folder.iterdir()]
        times = [file.st_mtime for file in files] or [folder.stat().st_mtime]
        changed = datetime.datetime.fromtimestamp(max(times), datetime.UTC)
        entry = CacheEntry(
            key=folder.name,
            asked=_asked(folder / ASKED_FILE),
            finished=(folder / JSON_FILE).exists() and (folder / TABLE_FILE).exists(),
            size=sum(file.st_size for file in files),
            changed=changed.isoformat(timespec="seconds"),
        )
        entries.append(entry)
    return entries


def _asked(path: Path) -> dict[str, Any]:
    """What an analysis was asked for, with question marks where that is missing or damaged."""
    try:
        asked: dict[str, Any] = json.loads(path.read_bytes())
        names = asked["model"]["name"], asked["dataset"]["name"]
        if all(isinstance(name, str) for name in names) and isinstance(asked["options"], dict):
            return asked
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"model": {"name": "?"}, "dataset": {"name": "?"}, "options": {}}


def remove_from_cache(beginning: str) -> str:
    """Remove one entry.

    Args:
        beginning: Its key, or so much of it that no other key begins like that.

    Returns:
        The key.

    Raises:
        SignatureError: There is none of that key, or more than one.
    """
    keys = [entry.key for entry in cache_entries()]
    meant = [key for key in keys if beginning and key.startswith(beginning)]
    if not meant:
        raise SignatureError(f"The cache has no entry {beginning!r}; it has {', '.join(keys) or 'none'}.")
    if len(meant) > 1:
        raise SignatureError(f"{beginning!r} is the beginning of {', '.join(meant)}; give more of the key.")
    shutil.rmtree(cache_folder() / meant[0])
    return meant[0]
