"""Every test process has its own Hub on 127.0.0.1 and its own, empty, Hugging Face home.

Both must be in the environment before huggingface_hub is imported, so they are set when pytest starts: no
test can reach the network or the caches of the person who runs it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import LocalHub

_HUB = LocalHub()
_HOME = Path(tempfile.mkdtemp(prefix="hf-home-"))

for _name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
    os.environ.pop(_name, None)
os.environ.update(_HUB.environment(_HOME))
os.environ["COLUMNS"] = "120"  # of tables, whatever terminal pytest runs in


def pytest_unconfigure() -> None:
    _HUB.close()
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of large libraries that are not installed."""
    absent = [
        item
        for item in items
        for mark in item.iter_markers("library")
        if importlib.util.find_spec(mark.args[0]) is None
    ]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """This process's Hub, empty, with empty caches. It is asked instead of PyPI too, and has nothing there."""
    monkeypatch.setattr("hf_affscore.publish.bundle.INDEX", _HUB.endpoint)
    _HUB.reset()
    for item in _HOME.iterdir() if _HOME.is_dir() else ():
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import HfFileSystem

        HfFileSystem.clear_instance_cache()
    yield _HUB
    _HUB.reset()
