"""The files of an analysis on disk, from which an interrupted analysis resumes.

Each analysis has one folder, named by a key. The key covers everything that changes a number: the states of model
and data set, the options, and the conditions of :mod:`hf_affscore.run.conditions`. While the analysis runs, the
folder has one file per finished batch, layer and group; afterwards it has only the signature. Files are written
under a temporary name and renamed, so each is complete or missing, whenever the process ends. Nothing is pickled.

Batches, layers and groups record the identities of their images, given by content or by file
(:mod:`hf_affscore.images.identity`). If only the state of the data set has changed (a file removed or repaired), a
new run takes over the parts of the interrupted one, and uses those whose images are the same. Files that the state
does not cover (a table names images elsewhere) are recorded beside the signature, which is valid until one changes.

The cache is optional: if the folder is read-only, the disk full or another run active on the same key, the analysis
warns and continues without it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from hf_affscore.errors import SignatureError, warn
from hf_affscore.images.identity import identity, local_files
from hf_affscore.run.cache import ASKED_FILE, cache_folder, unfinished_elsewhere
from hf_affscore.run.processes import Processes
from hf_affscore.run.stored import Batch, packed, sealed, unpacked, unsealed
from hf_affscore.signature import JSON_FILE, Signature
from hf_affscore.storage import write_atomically

#: Files of an unfinished run.
PARTS = "batch-*.npz", "layer-*.json", "group-*.json"

#: The images outside the data set that a signature was made from.
ELSEWHERE_FILE = "elsewhere.json"

T = TypeVar("T")
P = TypeVar("P")


class ResumeCache:
    """The files of one analysis. Without a folder it stores nothing and finds nothing.

    Args:
        folder: Folder of the analysis.
        dataset: The data set: its state, which identifies images that have no identity of their own, its location
            and its files.

    Attributes:
        key: What identifies the analysis, over several runs; empty without a folder.
        elsewhere: Identities, by path, of the files that hold images and that the state does not cover.
    """

    def __init__(self, folder: Path | None = None, dataset: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.elsewhere: dict[str, str | None] = {}
        self._dataset = dataset or {}
        self.key = "" if folder is None else folder.name
        self._lock: FileLock | None = None

    @classmethod
    def open(cls, asked: Mapping[str, Any], processes: Processes) -> ResumeCache:
        """The cache of a request; one that stores nothing if a process cannot use its folder.

        Args:
            asked: Everything that changes a number, JSON-ready.
            processes: Only the main process holds the lock. The others may be on machines with their own disks.
        """
        text = json.dumps(asked, sort_keys=True, indent=2)
        folder = cache_folder() / hashlib.sha256(text.encode()).hexdigest()[:16]
        resume = cls(folder, asked["dataset"])
        problem = resume._claim(text) if processes.is_main else None
        problem = processes.broadcast(problem)
        if problem is None and not processes.is_main:
            problem = resume._make()
        problems = [each for each in processes.gather(problem) if each is not None]
        if problems:
            resume._release()
            if processes.is_main:
                _warn(f"{problems[0]}; this run goes on without its cache")
            return cls()
        taken_over = processes.broadcast(resume._claim_others(asked) if processes.is_main else {})
        for key in taken_over:
            resume._take_over(cache_folder() / key)
        return resume

    def _claim(self, asked: str) -> str | None:
        """Make the folder and lock it. Returns the reason if that fails."""
        problem = self._make()
        if problem is not None or self.folder is None:
            return problem
        try:
            self._lock = FileLock(self.folder / ".lock", blocking=False)
            self._lock.acquire()
            if not (self.folder / ASKED_FILE).exists():
                write_atomically(self.folder / ASKED_FILE, asked.encode())
        except Timeout:
            self._lock = None
            return "another run is at work on the same analysis"
        except OSError as error:
            return f"the cache folder {self.folder} cannot be used ({error})"
        return None

    def _make(self) -> str | None:
        """Make the folder. Returns the reason if that fails."""
        assert self.folder is not None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"the cache folder {self.folder} cannot be used ({error})"
        return None

    def _claim_others(self, asked: Mapping[str, Any]) -> list[str]:
        """Keys of interrupted runs of the same analysis on another state of the data set."""
        if self._holds(JSON_FILE):
            return []
        return [folder.name for folder in unfinished_elsewhere(asked) if not _is_locked(folder)]

    def _take_over(self, other: Path) -> None:
        """Move the parts of another run here, unless a part of that name exists, and remove the rest."""
        assert self.folder is not None
        for path in itertools.chain.from_iterable(other.glob(pattern) for pattern in PARTS):
            try:
                if not (self.folder / path.name).exists():
                    path.rename(self.folder / path.name)
            except OSError:  # another process of this machine has moved it
                continue
        shutil.rmtree(other, ignore_errors=True)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def finished(self) -> Signature | None:
        """The signature if this analysis was finished before."""
        if self.folder is None or not (self.folder / JSON_FILE).exists() or self._changed_elsewhere():
            return None
        try:
            return Signature.from_pretrained(self.folder)
        except SignatureError as error:
            _warn(f"the cached signature cannot be used and is made again: {error}")
            return None

    @property
    def begun(self) -> bool:
        """Whether an interrupted run has left parts."""
        return any(map(self._holds, PARTS))

    def _changed_elsewhere(self) -> bool:
        """Whether an image outside the data set is not the file that the signature was made from."""
        known = self._read(ELSEWHERE_FILE, unsealed, []) or {}
        return any(identity(path) != found for path, found in known.items())

    def finish(self, signature: Signature, elsewhere: Mapping[str, str | None]) -> bool:
        """Store the signature. Returns whether that succeeded, so that its parts can be removed.

        Args:
            signature: The signature.
            elsewhere: :attr:`elsewhere` of all processes.
        """
        if self.folder is None:
            return False
        try:
            if elsewhere:
                write_atomically(self.folder / ELSEWHERE_FILE, sealed(dict(elsewhere), []))
            signature.save_pretrained(self.folder)
        except (SignatureError, OSError) as error:
            _warn(f"the signature could not be cached: {error}")
            return False
        return True

    def close(self) -> None:
        """Release the key for other runs; remove the folder if it has no parts and no signature."""
        empty = self.folder is not None and not self.begun and not self._holds(JSON_FILE)
        if self.folder is not None and empty:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()
        if self.folder is not None and empty:  # Windows removes the lock's file only now
            with suppress(OSError):
                self.folder.rmdir()

    def identify(self, position: int, item: Any, pixel_range: Any = None) -> str:
        """The identity of an image of the stream, with the range that it is scaled by; empty without a folder."""
        if self.folder is None:
            return ""
        for path in local_files(item):
            if not self._is_covered(path):
                self.elsewhere[path] = identity(path)
        scaled = "" if pixel_range is None else f" {pixel_range}"
        return (identity(item) or f"image {position} of {self._dataset['state']}") + scaled

    def _is_covered(self, path: str) -> bool:
        """Whether the state of the data set changes with a local file: one of its files, or one in its folder."""
        if self._dataset["files"]:
            return path in self._dataset["files"]
        return Path(os.path.normpath(path)).is_relative_to(self._dataset["location"])

    def load_batch(self, start: int, images: list[str]) -> Batch | None:
        """The batch whose first image is at ``start``, if it was finished before and has the same images."""
        batch = self._read(f"batch-{start:08}.npz", unpacked, start)
        return batch if batch is not None and batch.images == images else None

    def save_batch(self, start: int, batch: Batch) -> None:
        """Store a finished batch."""
        if self.folder is not None:
            self._write(f"batch-{start:08}.npz", packed(batch, start))

    def load_layer(self, group: int, place: int, images: str) -> dict[str, Any] | None:
        """The columns of one layer of a group, if it was scored before on the same images."""
        layer = self._read(f"layer-{group:06}-{place:05}.json", unsealed, [group, place])
        return layer["columns"] if layer is not None and layer["images"] == images else None

    def save_layer(self, group: int, place: int, images: str, columns: dict[str, Any]) -> None:
        """Store the columns of one layer."""
        content = {"images": images, "columns": columns}
        self._write(f"layer-{group:06}-{place:05}.json", sealed(content, [group, place]))

    def load_group(self, number: int) -> dict[str, Any] | None:
        """A whole group, if it was scored before; its ``images`` identify the images."""
        return self._read(f"group-{number:06}.json", unsealed, [number])

    def save_group(self, number: int, group: dict[str, Any]) -> bool:
        """Store a whole group instead of its batches and layers. Returns whether that succeeded."""
        return self._write(f"group-{number:06}.json", sealed(group, [number]))

    def forget(self, *patterns: str) -> None:
        """Remove files that a later file replaces."""
        for path in itertools.chain.from_iterable(
            self.folder.glob(pattern) for pattern in patterns if self.folder
        ):
            path.unlink(missing_ok=True)

    def forget_parts(self) -> None:
        """Remove all parts that the signature replaces, including temporary files of an interrupted process."""
        self.forget(*PARTS, *(f".{pattern}.*" for pattern in PARTS))

    def _holds(self, pattern: str) -> bool:
        return self.folder is not None and any(self.folder.glob(pattern))

    def _read(self, name: str, parse: Callable[[bytes, P], T], place: P) -> T | None:
        """The parsed content of a file; None if it is missing or damaged."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        try:
            return parse(path.read_bytes(), place)
        except Exception as error:  # damaged files make libraries raise anything
            _warn(
                f"{path} cannot be read ({str(error) or type(error).__name__}); what was in it is made again"
            )
            return None

    def _path(self, name: str) -> Path | None:
        folder = self.folder  # another thread sets it to None when the disk is full
        return None if folder is None else folder / name

    def _write(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        if path is None:
            return False
        try:
            write_atomically(path, content)
        except OSError as error:
            self.folder = None
            _warn(f"{path} could not be written ({error}); going on without: this run cannot be resumed")
            return False
        return True


def _is_locked(folder: Path) -> bool:
    """Whether a run is active in a folder of the cache."""
    try:
        with FileLock(folder / ".lock", blocking=False):
            return False
    except (Timeout, OSError):
        return True


def _warn(message: str) -> str:
    warn(message[0].upper() + message[1:] + ".")
    return message
