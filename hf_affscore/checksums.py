"""Checksums of local folders, which tell whether a checkpoint or a data set has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

#: Extensions of files that belong to a checkpoint; cards, logs and pictures do not count.
OF_CHECKPOINTS = frozenset(
    (
        *(".json", ".py", ".safetensors", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".pt2", ".onnx", ".data"),
        *(".h5", ".keras", ".npz", ".npy", ".msgpack", ".gguf", ".yaml", ".yml", ".toml", ".txt"),
    )
)


def model_checksum(folder: Path) -> str:
    """SHA-256 over the content of the files of a local checkpoint, down to one folder below."""
    digest = hashlib.sha256()
    for path in sorted([*folder.iterdir(), *folder.glob("*/*")]):
        if path.suffix in OF_CHECKPOINTS and path.is_file():
            with path.open("rb") as file:
                name = path.relative_to(folder).as_posix()
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def dataset_checksum(folder: Path) -> str:
    """SHA-256 over names, sizes and modification times of the files of a data set; it may be too large to read."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for name, stat in sorted(_walked(str(folder), "", frozenset())):
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _walked(
    folder: str, below: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder, with its relative path. Links to folders are followed, but no cycles."""
    own = os.stat(folder)
    here = (own.st_dev, own.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walked(entry.path, f"{below}{entry.name}/", above | {here})
            elif entry.is_file():
                yield below + entry.name, entry.stat()
