"""What Windows and macOS do otherwise, simulated: open files, missing modules, spawned processes, code pages."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import hf_affscore as ha
from hf_affscore import storage
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.publish.index import folder_name
from hf_affscore.run.cache import cache_entries, remove_from_cache
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import ResumeCache

#: Names that Windows keeps for devices, with or without an ending.
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc")


def opened() -> set[str]:
    """The files that this process has open or mapped."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # that of the listing itself
            continue
    lines = Path("/proc/self/maps").read_text().splitlines()
    return found | {words[5] for words in (line.split(maxsplit=5) for line in lines) if len(words) > 5}


@pytest.fixture
def like_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that this process has open, or mapped, is neither removed nor replaced."""

    def guarded(change: Callable[..., Any]) -> Callable[..., Any]:
        def guard(*paths: Any, dir_fd: int | None = None, **rest: Any) -> Any:
            folder = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            for path in paths:
                whole = os.path.abspath(os.path.join(folder, os.fspath(path)))
                if os.path.isfile(whole) and os.path.realpath(whole) in opened():
                    raise PermissionError(13, "The process cannot access the file", whole)
            return change(*paths, **({} if dir_fd is None else {"dir_fd": dir_fd}), **rest)

        return guard

    for name in ("unlink", "remove", "rename", "replace"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))


@linux
def test_the_simulation_refuses_what_is_open(like_windows, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb"), pytest.raises(PermissionError):
        path.unlink()
    with path.open("rb"):
        shutil.rmtree(tmp_path, ignore_errors=True)
    assert path.exists()
    path.unlink()


@linux
def test_nothing_open_is_removed_or_replaced(like_windows, monkeypatch, tmp_path):
    """An analysis, the same from the cache, its files written twice, and the cache emptied."""
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    signature = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, memory_limit=0, progress=False)
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, memory_limit=0, progress=False) == signature
    folder = signature.save_pretrained(tmp_path / "signature")
    loaded = ha.Signature.from_pretrained(folder)
    loaded.save_pretrained(folder)
    loaded.plot(tmp_path / "picture.png")
    loaded.plot(tmp_path / "picture.png")
    assert ha.Signature.from_pretrained(folder) == signature
    (entry,) = cache_entries()
    remove_from_cache(entry.key)
    assert cache_entries() == []


@linux
def test_a_run_that_kept_nothing_leaves_nothing(like_windows, monkeypatch, tmp_path):
    """The lock's file is open while the folder is emptied; on Windows filelock removes it when it lets go."""
    release = ResumeCache._release

    def and_remove(cache: ResumeCache) -> None:
        release(cache)
        assert cache.folder is not None
        (cache.folder / ".lock").unlink(missing_ok=True)

    monkeypatch.setattr(ResumeCache, "_release", and_remove)
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path))
    asked = {"dataset": {"name": "a", "state": "b"}, "model": {"name": "c"}, "options": {}}
    ResumeCache.open(asked, Processes.current()).close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_open_elsewhere_for_a_moment_is_waited_for(monkeypatch, tmp_path):
    path, tries = tmp_path / "file", []
    path.write_bytes(b"old")
    real = os.replace

    def busy(source: Path, target: Path) -> None:
        tries.append(source)
        if len(tries) < 3:
            raise PermissionError(13, "The process cannot access the file", str(target))
        real(source, target)

    monkeypatch.setattr(storage, "PATIENCE", 60)
    monkeypatch.setattr(os, "replace", busy)
    storage.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_one_that_stays_open_is_an_error_and_stays_as_it_was(monkeypatch, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def busy(source: Path, target: Path) -> None:
        raise PermissionError(13, "The process cannot access the file", str(target))

    monkeypatch.setattr(storage, "PATIENCE", 0.1)
    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(PermissionError):
        storage.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_demo_without_what_only_unix_has_and_in_a_code_page(tmp_path):
    """Windows has no fcntl and no resource; its pipes take the letters of cp1252.

    psutil's part for Linux is loaded before. The caches are empty: without fcntl a lock is a file that is there,
    and Linux leaves such files behind.
    """
    code = (
        "import os, sys, psutil\n"
        "for name in ('fcntl', 'resource'): sys.modules[name] = None\n"
        "for name in ('forkpty', 'sched_getaffinity'): delattr(os, name)\n"
        "from hf_affscore.cli import main; main(['demo'])"
    )
    caches = {"HF_HOME": str(tmp_path / "home"), "HF_AFFSCORE_CACHE": str(tmp_path / "cache")}
    environment = {**os.environ, **caches, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, timeout=300
    )
    text = done.stdout.decode("cp1252")
    assert done.returncode == 0, done.stderr
    assert "19 scores" in text
    assert "##########····" in text
    assert "?" not in text


def test_a_spawned_process_analyses_and_gives_its_signature_back():
    """Processes of Windows and macOS start empty: what they are given and give is pickled."""
    usual = {"num_samples": 32, "cache": False, "progress": False}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        found = processes.submit(ha.analyze, DEMO_MODEL, DEMO_DATASET, **usual).result()
    assert found.scores.tolist() == ha.analyze(DEMO_MODEL, DEMO_DATASET, **usual).scores.tolist()


def test_every_text_file_says_its_encoding():
    """Without it Windows takes the letters of its code page."""
    silent = []
    for path in Path(ha.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
                "read_text",
                "write_text",
            )
            of_a_path = text and not (node.func.attr == "read_text" and node.args)  # not of a distribution
            if of_a_path and "encoding" not in {keyword.arg for keyword in node.keywords}:
                silent.append(f"{path.name}:{node.lineno}")
    assert silent == []


@pytest.mark.parametrize("name", ["con", "user/NUL", "aux.", "a:b\\c", "COM1", "*?", "..", "trailing "])
def test_folders_of_a_collection_have_names_for_every_file_system(name):
    made = folder_name({"model": name, "dataset": name})
    assert made.split(".")[0] not in RESERVED
    assert made == made.lower() == made.strip(" .")
    assert not set(made) & set('<>:"/\\|?*')
    assert (
        made != folder_name({"model": name.swapcase(), "dataset": name.swapcase()}) or name == name.swapcase()
    )
