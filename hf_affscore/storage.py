"""Atomic writes: write a temporary file beside the destination, then rename it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step; after an error the old file is unchanged.

    The file gets the default permissions of new files of this process.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    file = temporary.open("xb")  # open() applies the umask; reading the umask would mean changing it
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
