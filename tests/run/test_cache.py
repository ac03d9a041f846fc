"""Cached analyses: valid while their images are, listed and removed while others work in the same folder."""

import os
import shutil
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_MODEL
from hf_affscore.errors import SignatureError
from hf_affscore.run.cache import cache_entries, remove_from_cache
from hf_affscore.run.resume import ResumeCache


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


def test_an_entry_is_listed_without_the_file_that_vanishes(cache, monkeypatch):
    folder = cache / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "asked.json").write_text("{}")
    (folder / "batch.npz").write_bytes(b"rows")
    real = Path.stat

    def vanishing(self, *args, **kwargs):
        if self.name == "batch.npz":
            raise FileNotFoundError(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert [(entry.key, entry.size) for entry in cache_entries()] == [("0" * 16, 2)]


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


def photographs(folder, seed, count=8):
    """Images that differ from those of another seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng([seed, number]).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def links(data, images):
    data.mkdir()
    (data / "linked").symlink_to(images)
    (data / "circle").symlink_to(data)


def table(data, images, ending, relative=False):
    data.mkdir()
    folder = os.path.relpath(images, data) if relative else str(images)
    paths = [f"{folder}/{path.name}" for path in sorted(images.iterdir())]
    made = datasets.Dataset.from_dict({"image": paths})
    getattr(made, {"csv": "to_csv", "jsonl": "to_json", "parquet": "to_parquet"}[ending])(
        data / f"train.{ending}"
    )


OUTSIDE = {
    "links": links,
    "csv": lambda data, images: table(data, images, "csv"),
    "jsonl": lambda data, images: table(data, images, "jsonl"),
    "parquet": lambda data, images: table(data, images, "parquet"),
    "above the folder": lambda data, images: table(data, images, "csv", relative=True),
}


@pytest.mark.filterwarnings("ignore::hf_affscore.errors.AffscoreWarning")
@pytest.mark.parametrize("kind", OUTSIDE)
def test_images_that_lie_outside_the_folder_are_part_of_its_state(kind, cache, tmp_path, recwarn):
    """A cached result is of the images that are there now, wherever they lie; it is made again, once."""

    def analysed():
        options = {"num_samples": 8, "exclude": ["resnet.encoder.*"], "progress": False}
        return ha.analyze(DEMO_MODEL, tmp_path / "data", **options)

    photographs(tmp_path / "images", 1)
    OUTSIDE[kind](tmp_path / "data", tmp_path / "images")
    first = analysed()
    assert analysed() == first
    photographs(tmp_path / "images", 2)
    second = analysed()
    assert second.metadata["dataset"]["fingerprint"] != first.metadata["dataset"]["fingerprint"]
    assert second.rows != first.rows
    assert analysed() == second
    assert all(entry.finished for entry in cache_entries())


def test_an_interrupted_run_goes_on_with_the_images_that_lie_outside_now(cache, tmp_path, monkeypatch):
    def analysed(**options):
        few = {"num_samples": 8, "batch_size": 4, "exclude": ["resnet.encoder.*"], "progress": False}
        return ha.analyze(DEMO_MODEL, tmp_path / "data", **few, **options)

    def stop(*arguments):
        raise KeyboardInterrupt

    photographs(tmp_path / "images", 1)
    table(tmp_path / "data", tmp_path / "images", "parquet")
    with monkeypatch.context() as patch:
        patch.setattr(ResumeCache, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            analysed()
    photographs(tmp_path / "images", 2)
    assert analysed().rows == analysed(cache=False).rows
