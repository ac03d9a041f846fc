"""Files that are whole or not there, with the permissions of any other file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hf_affscore.storage import write_atomically


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o007])
def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path, mask: int) -> None:
    code = (
        "import os, pathlib, sys; from hf_affscore.storage import write_atomically; "
        f"os.umask({mask}); write_atomically(pathlib.Path(sys.argv[1]), b'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=True)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_threads_that_write_at_once_never_change_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask belongs to the whole process: whoever changes it, for a moment, changes it for all threads."""

    def changed(mask: int) -> int:
        raise AssertionError("the umask is changed")

    monkeypatch.setattr(os, "umask", changed)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: write_atomically(tmp_path / str(number % 3), b"x"), range(48)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_atomically(tmp_path / "file" / "new", b"x")
