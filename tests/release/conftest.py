"""The distributions, built once for all tests of this folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.release.building import LEFT_OVER, ROOT, run


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, built from a copy of the checkout that has no history; the wheel from the sdist."""
    source = tmp_path_factory.mktemp("build") / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OVER)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=source)
    return source / "dist"
