"""Listing and removing cached analyses while others work in the same folder."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from hf_affscore.errors import SignatureError
from hf_affscore.run.cache import cache_entries, remove_from_cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_can_be_listed_and_cleaned_while_files_come_and_go(cache):
    stop, errors = threading.Event(), []

    def work(number):
        folder = cache / f"{number:016x}"
        while not stop.is_set():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "asked.json").write_text("{}")
            for part in range(20):
                (folder / f".batch-{part:08}.npz.half").write_bytes(b"rows")
                (folder / f".batch-{part:08}.npz.half").rename(folder / f"batch-{part:08}.npz")
            shutil.rmtree(folder)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for entry in cache_entries():
                assert entry.size >= 0
    except OSError as error:
        errors.append(error)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert errors == []


@pytest.mark.parametrize("step", ["iterdir", "stat", "is_dir"])
def test_an_entry_that_vanishes_at_any_step_is_left_out(step, cache, monkeypatch):
    """Deterministic, as the one above is not: the folder is gone as soon as it was looked at so."""
    folder = cache / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "asked.json").write_text("{}")
    real = getattr(Path, step)

    def vanishing(self, *args, **kwargs):
        found = real(self, *args, **kwargs)
        if self == folder:
            shutil.rmtree(folder, ignore_errors=True)
        return found

    monkeypatch.setattr(Path, step, vanishing)
    assert all(entry.size == 0 for entry in cache_entries())
    assert cache_entries() == []


def test_removing_what_is_gone_is_no_error_and_what_cannot_go_says_why(cache, monkeypatch):
    folder = cache / ("0" * 16)
    folder.mkdir(parents=True)

    def refused(path):
        raise OSError(39, "Directory not empty")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refused)
        with pytest.raises(SignatureError, match=r"could not be removed \(Directory not empty\).*using it"):
            remove_from_cache("00")
    assert remove_from_cache("00") == folder.name
