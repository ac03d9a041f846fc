"""Atomic writes: write a temporary file beside the destination, then rename it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

#: Windows does not replace a file that another program has open, such as a virus scanner, for a moment: seconds.
PATIENCE = 3.0 if os.name == "nt" else 0.0


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step; after an error the old file is unchanged.

    The file gets the default permissions of new files of this process.

    Raises:
        OSError: The folder is missing or read-only, the disk is full, or another program keeps the file open
            (Windows).
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    file = temporary.open("xb")  # open() applies the umask; reading the umask would mean changing it
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what matters is the first error
            os.unlink(temporary)
        raise


def _replace(source: Path, target: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.05)
