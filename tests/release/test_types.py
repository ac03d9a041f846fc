"""A user's file, checked against the wheel by pyright in strict mode: right calls pass, wrong ones are found."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.release.building import run

FILE = Path(__file__).parents[1] / "data" / "a_users_file.py"


@pytest.fixture
def python(distributions: Path, tmp_path: Path) -> Path:
    """The interpreter of an environment that has the wheel, and borrows everything else."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    (packages,) = environment.glob("lib/python*/site-packages")
    (wheel,) = distributions.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return environment / "bin" / "python"


def complaints(file: Path, python: Path) -> dict[int, str]:
    """What pyright says about a file in strict mode, by line."""
    settings = file.parent / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "strict", "include": [file.name]}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "-p", settings, "--pythonpath", python],
        capture_output=True,
        text=True,
        timeout=500,
    )
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found["generalDiagnostics"]}


@pytest.mark.slow
def test_a_users_file_in_strict_mode(python, tmp_path):
    text = FILE.read_text(encoding="utf-8")
    file = tmp_path / "users" / FILE.name
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    refused = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# refused")}
    found = complaints(file, python)
    assert {number: what for number, what in found.items() if number not in refused} == {}
    assert found.keys() == refused
