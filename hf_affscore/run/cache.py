"""The folders of finished and interrupted analyses on disk: list them, remove them."""

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
        asked: The request: model, data set, options and conditions.
        finished: Whether the signature is complete; otherwise the analysis can be resumed.
        size: Bytes on disk.
        changed: Time of the last write to it, ISO 8601, UTC.
    """

    key: str
    asked: dict[str, Any]
    finished: bool
    size: int
    changed: str

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that differ from their default, and the device if it is not the CPU."""
        usual = {**Options().recorded(), "device": "cpu"}
        return {name: value for name, value in self.asked["options"].items() if usual.get(name) != value}


def cache_entries() -> list[CacheEntry]:
    """The analyses in the cache, sorted by key."""
    entries = (_entry(folder) for folder in _folders())
    return [entry for entry in entries if entry is not None]


def unfinished_elsewhere(asked: Mapping[str, Any]) -> list[Path]:
    """The folders of interrupted runs with the same request on another state of the data set."""
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
    """The folders of analyses, sorted by key. Another process may remove any of them at any time."""
    try:
        return sorted(path for path in cache_folder().iterdir() if KEY.fullmatch(path.name) and path.is_dir())
    except FileNotFoundError:
        return []


def _entry(folder: Path) -> CacheEntry | None:
    """One analysis; None if another process has removed it meanwhile."""
    try:
        times, sizes = [folder.stat().st_mtime], []
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # a run in progress renames and removes its files
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
    """The request of an analysis, with question marks if the file is missing or damaged."""
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
        beginning: Its key, or a beginning of it that no other key shares.

    Returns:
        The key.

    Raises:
        SignatureError: No key or several keys match, or the entry cannot be removed.
    """
    keys = [entry.key for entry in cache_entries()]
    meant = [key for key in keys if beginning and key.startswith(beginning)]
    if not meant:
        raise SignatureError(f"The cache has no entry {beginning!r}; it has {', '.join(keys) or 'none'}.")
    if len(meant) > 1:
        raise SignatureError(f"{beginning!r} is the beginning of {', '.join(meant)}; give more of the key.")
    try:
        shutil.rmtree(cache_folder() / meant[0])
    except FileNotFoundError:  # another process has removed it
        pass
    except OSError as error:
        raise SignatureError(
            f"The cache entry {meant[0]} could not be removed ({error.strerror or error}). "
            "If an analysis is using it, wait until it has ended."
        ) from error
    return meant[0]
