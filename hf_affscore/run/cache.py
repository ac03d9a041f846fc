"""The folders that analyses leave on disk, finished or interrupted: list them, remove them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
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
    entries = (_entry(folder) for folder in _folders())
    return [entry for entry in entries if entry is not None]


def unfinished_elsewhere(asked: Mapping[str, Any]) -> list[Path]:
    """The folders of interrupted runs that asked for the same, of a data set in another state."""
    return [
        folder
        for folder in _folders()
        if not (folder / JSON_FILE).exists()
        and (found := _asked(folder / ASKED_FILE)) != asked
        and _without_state(found) == _without_state(asked)
    ]


def _without_state(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {**asked, "dataset": {**asked["dataset"], "state": None, "commit": None}}


def _folders() -> list[Path]:
    """The folders of analyses, by key. Another process may remove any of them at any time."""
    try:
        return sorted(path for path in cache_folder().iterdir() if KEY.fullmatch(path.name) and path.is_dir())
    except FileNotFoundError:
        return []


def _entry(folder: Path) -> CacheEntry | None:
    """One analysis; None where another process has removed it meanwhile."""
    try:
        times, sizes = [folder.stat().st_mtime], []
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # a run that is at work renames and removes its files
                stat = file.stat()
                times.append(stat.st_mtime)
                sizes.append(stat.st_size)
    except FileNotFoundError:
        return None
    changed = datetime.datetime.fromtimestamp(max(times), datetime.UTC)
    return CacheEntry(
        key=folder.name,
        asked=_asked(folder / ASKED_FILE),
        finished=(folder / JSON_FILE).exists() and (folder / TABLE_FILE).exists(),
        size=sum(sizes),
        changed=changed.isoformat(timespec="seconds"),
    )


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
        SignatureError: There is none of that key, more than one, or it cannot be removed.
    """
    keys = [entry.key for entry in cache_entries()]
    meant = [key for key in keys if beginning and key.startswith(beginning)]
    if not meant:
        raise SignatureError(f"The cache has no entry {beginning!r}; it has {', '.join(keys) or 'none'}.")
    if len(meant) > 1:
        raise SignatureError(f"{beginning!r} is the beginning of {', '.join(meant)}; give more of the key.")
    try:
        shutil.rmtree(cache_folder() / meant[0])
    except FileNotFoundError:  # gone already, by another process
        pass
    except OSError as error:
        raise SignatureError(
            f"The cache entry {meant[0]} could not be removed ({error.strerror or error}). "
            "If an analysis is at work on it, wait until it has ended."
        ) from error
    return meant[0]
