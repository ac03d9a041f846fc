"""Files that are either whole or not there: write beside the destination, then rename."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step; after an error the old file stands as it was.

    The file gets the permissions that any new file of this process gets.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    file = temporary.open("xb")  # the system applies the umask; to read it, a process has to change it
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
