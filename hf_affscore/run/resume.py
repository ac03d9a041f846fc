"""What an analysis leaves on disk while it runs, so that a killed one goes on where it was.

One folder per key, and the key names everything that changes a number: the commits of model and data set, the
options, the versions of the libraries and of the numbers. In it, while the analysis runs, one file per finished
batch and per finished group; when it is done, the signature and nothing else. Files are written beside their
place and renamed, so each is whole or missing, whenever the process dies. Nothing is pickled.

A cache is welcome, not needed: where the folder is read-only, the disk full or another run at work on the same
key, the analysis says so and goes on without.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from hf_affscore.capture.sites import CallSite, SkippedCall
from hf_affscore.capture.summary import Summary
from hf_affscore.errors import AffscoreWarning, SignatureError
from hf_affscore.run.cache import ASKED_FILE, cache_folder
from hf_affscore.run.processes import Processes
from hf_affscore.signature import JSON_FILE, Signature
from hf_affscore.storage import write_atomically

#: Files of a run that is under way.
PARTS = "batch-*.npz", "layer-*.json", "group-*.json"


T = TypeVar("T")
P = TypeVar("P")


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one batch of images left behind.

    Attributes:
        calls: CallSite, input and output of every activation call.
        skipped: Calls that were passed over.
        num_images: Images that were decoded.
        undecodable: Position and reason of each that was not.
    """

    calls: list[tuple[CallSite, Summary, Summary]]
    skipped: list[SkippedCall]
    num_images: int
    undecodable: list[tuple[int, str]]

    def without_rows(self) -> Batch:
        """What the other processes have to know of a batch."""
        return Batch([], [], self.num_images, self.undecodable)


class ResumeCache:
    """The files of one analysis. Without a folder it keeps nothing and finds nothing."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._lock: FileLock | None = None

    @classmethod
    def open(cls, asked: Mapping[str, Any], processes: Processes) -> ResumeCache:
        """The cache of what is asked for.

        Args:
            asked: Everything that changes a number, JSON-ready.
            processes: Only the main process makes the folder and holds its lock.
        """
        text = json.dumps(asked, sort_keys=True, indent=2)
        folder = cache_folder() / hashlib.sha256(text.encode()).hexdigest()[:16]
        resume, problem = cls(folder), None
        if processes.is_main:
            problem = resume._claim(text)
        if any(processes.gather(problem)):
            return cls()
        folder.mkdir(parents=True, exist_ok=True)  # the other nodes have disks of their own
        return resume

    def _claim(self, asked: str) -> str | None:
        """Make the folder and lock it; the reason why not, after a warning."""
        assert self.folder is not None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / ".lock", blocking=False)
            self._lock.acquire()
            if not (self.folder / ASKED_FILE).exists():
                write_atomically(self.folder / ASKED_FILE, asked.encode())
        except Timeout:
            return _warn("another run is at work on the same analysis; this one goes on without its cache")
        except OSError as error:
            return _warn(f"the cache folder {self.folder} cannot be used ({error}); going on without")
        return None

    def finished(self) -> Signature | None:
        """The signature, where this analysis was finished before."""
        if self.folder is None or not (self.folder / JSON_FILE).exists():
            return None
        try:
            return Signature.from_pretrained(self.folder)
        except SignatureError as error:
            _warn(f"the cached signature cannot be used and is made again: {error}")
            return None

    @property
    def begun(self) -> bool:
        """Whether an interrupted run has left something."""
        return any(map(self._holds, PARTS))

    def finish(self, signature: Signature) -> bool:
        """Keep the signature; whether that was possible, so that the parts it was made of may go."""
        if self.folder is None:
            return False
        try:
            signature.save_pretrained(self.folder)
        except (SignatureError, OSError) as error:
            _warn(f"the signature could not be cached: {error}")
            return False
        return True

    def close(self) -> None:
        """Let other runs have the key; where nothing was done for it, as if it had never been asked for."""
        if self.folder is not None and not self.begun and not self._holds(JSON_FILE):
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def load_batch(self, start: int) -> Batch | None:
        """The batch whose first image is at ``start``, if it was finished before."""
        return self._read(f"batch-{start:08}.npz", _unpacked, start)

    def save_batch(self, start: int, batch: Batch) -> None:
        """Keep a finished batch."""
        self._write(f"batch-{start:08}.npz", _packed(batch, start))

    def load_layer(self, group: int, place: int) -> dict[str, Any] | None:
        """The columns of one layer of a group, if it was scored before."""
        return self._read(f"layer-{group:06}-{place:05}.json", _unsealed, [group, place])

    def save_layer(self, group: int, place: int, columns: dict[str, Any]) -> None:
        """Keep the columns of one layer."""
        self._write(f"layer-{group:06}-{place:05}.json", _sealed(columns, [group, place]))

    def load_group(self, number: int) -> dict[str, Any] | None:
        """A whole group, if it was scored before."""
        return self._read(f"group-{number:06}.json", _unsealed, [number])

    def save_group(self, number: int, group: dict[str, Any]) -> bool:
        """Keep a whole group instead of its batches and layers; whether that was possible."""
        return self._write(f"group-{number:06}.json", _sealed(group, [number]))

    def forget(self, *patterns: str) -> None:
        """Remove files that something later stands for."""
        for path in itertools.chain.from_iterable(
            self.folder.glob(pattern) for pattern in patterns if self.folder
        ):
            path.unlink(missing_ok=True)

    def forget_parts(self) -> None:
        """Remove all that the signature stands for, also what a killed process was writing."""
        self.forget(*PARTS, *(f".{pattern}.*" for pattern in PARTS))

    def _holds(self, pattern: str) -> bool:
        return self.folder is not None and any(self.folder.glob(pattern))

    def _read(self, name: str, parse: Callable[[bytes, P], T], place: P) -> T | None:
        """What is in a file, unless there is none or something has damaged it."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        try:
            return parse(path.read_bytes(), place)
        except Exception as error:  # what is damaged makes libraries raise anything
            _warn(
                f"{path} cannot be read ({str(error) or type(error).__name__}); what was in it is made again"
            )
            return None

    def _path(self, name: str) -> Path | None:
        folder = self.folder  # which another thread may take away, finding the disk full
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


def _sealed(content: dict[str, Any], place: list[int]) -> bytes:
    """A JSON document with a checksum of what is in it, and where it belongs."""
    return json.dumps({"sha256": _checksum(content, place), "content": content}).encode()


def _unsealed(document: bytes, place: list[int]) -> dict[str, Any]:
    """What :func:`_sealed` was given.

    Raises:
        ValueError: It is not that.
    """
    sealed = json.loads(document)
    content: dict[str, Any] = sealed["content"]
    if sealed["sha256"] != _checksum(content, place):
        raise ValueError("its checksum is another")
    return content


def _checksum(content: dict[str, Any], place: list[int]) -> str:
    return hashlib.sha256(json.dumps([content, place]).encode()).hexdigest()


def _packed(batch: Batch, start: int) -> bytes:
    """A batch as the bytes of an ``.npz`` file, which has checksums: arrays by number, the rest as JSON."""
    about = {
        "start": start,
        "calls": [dataclasses.asdict(site) for site, _, _ in batch.calls],
        "skipped": [{"site": dataclasses.asdict(s.site), "reason": s.reason} for s in batch.skipped],
        "num_images": batch.num_images,
        "undecodable": batch.undecodable,
    }
    arrays: dict[str, Any] = {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    for number, (_, *pair) in enumerate(batch.calls):
        for side, summary in zip(("pre", "post"), pair, strict=True):
            arrays[f"{side}_{number}"] = summary.rows
            arrays[f"{side}_near_zero_{number}"] = summary.near_zero
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _unpacked(content: bytes, start: int) -> Batch:
    """The batch that :func:`_packed` was given.

    Raises:
        ValueError: It is another one. A damaged file raises anything.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        about = json.loads(stored["about"].tobytes())
        if about["start"] != start:
            raise ValueError(f"it is the batch of image {about['start']}")

        def summary(side: str, number: int) -> Summary:
            return Summary(stored[f"{side}_{number}"], stored[f"{side}_near_zero_{number}"])

        return Batch(
            calls=[
                (CallSite(**site), summary("pre", i), summary("post", i))
                for i, site in enumerate(about["calls"])
            ],
            skipped=[
                SkippedCall(CallSite(**skipped["site"]), skipped["reason"]) for skipped in about["skipped"]
            ],
            num_images=about["num_images"],
            undecodable=[(position, reason) for position, reason in about["undecodable"]],
        )


def _warn(message: str) -> str:
    warnings.warn(message[0].upper() + message[1:] + ".", AffscoreWarning, stacklevel=2)
    return message
