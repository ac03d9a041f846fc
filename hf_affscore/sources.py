"""Where a named model or data set is, and which state of it: what a cache's key and the loaders go by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hf_affscore.errors import DatasetError, InputError, ModelError
from hf_affscore.hub import Kind, pin


@dataclass(frozen=True)
class Source:
    """Where a named model or data set is, and which state of it.

    Attributes:
        name: What it is called in a signature: the Hub id, or the folder's name.
        location: What loaders are given: the Hub id, or the folder's path.
        commit: The commit that loaders are given; None for a folder.
        state: What changes when the content does: the commit, or a checksum of the folder.
    """

    name: str
    location: str
    commit: str | None
    state: str


def locate(kind: Kind, name: str, *, revision: str | None, token: str | bool | None) -> Source:
    """Find a local folder or a Hub repository, and pin its state.

    Raises:
        ModelError, DatasetError: There is no such folder, repository or revision, no access to it, or no name.
        InputError: A revision of a folder is asked for.
    """
    error_class = ModelError if kind == "model" else DatasetError
    if not name.strip():
        raise error_class(f"The {kind} is {name!r}; expected a Hub id or a folder.")
    try:
        path = Path(name).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError) as error:  # too long a name, or ~somebody who has no account
        raise error_class(
            f"{name[:100]!r} is neither a folder that can be looked at nor a Hub id: {str(error)[:100]}. Check it."
        ) from error
    if is_folder:
        if revision is not None:
            raise InputError(
                f"The revision {revision!r} cannot apply: {name} is a local folder, which has none. Leave it out."
            )
        checksum = model_checksum(path) if kind == "model" else dataset_checksum(path)
        return Source(path.resolve().name, str(path), None, checksum)
    if exists:
        expected = "a checkpoint's folder" if kind == "model" else "a folder of images or Parquet files"
        raise error_class(f"{name} is a file; expected {expected}, or a Hub id.")
    commit = pin(kind, name, revision=revision, token=token)
    return Source(name, name, commit, commit)


def model_checksum(folder: Path) -> str:
    """SHA-256 over the content of the files that make a local checkpoint what it is."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".bin", ".py"}:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def dataset_checksum(folder: Path) -> str:
    """SHA-256 over names, sizes and times of the files of a data set, which may be too large to read."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            digest.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"sha256:{digest.hexdigest()}"
