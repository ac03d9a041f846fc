"""What the tree imports is declared in pyproject.toml, and what is declared is imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Libraries that only tests marked ``library`` import, and the makers of checkpoints for ``make models``.
TOO_LARGE = ("av", "doctr", "keras_hub", "rfdetr", "torchao", "ultralytics")


def complaints(root: Path, *words: str) -> list[str]:
    """What deptry has against the imports of some folders; empty if all is well."""
    done = subprocess.run(
        [sys.executable, "-m", "deptry", "--no-ansi", *words],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = [line for line in (done.stdout + done.stderr).splitlines() if ": DEP0" in line]
    assert done.returncode == bool(found), done.stderr
    return found


def test_the_package_imports_its_dependencies_and_nothing_else():
    """No package that is not declared, none that only comes along with another, and no declared one in vain."""
    assert complaints(ROOT, "hf_affscore") == []


def test_tests_and_examples_import_what_the_test_extra_has():
    """DEP002 and DEP004 are about a package's own dependencies; these are tests."""
    words = ("--ignore", "DEP002,DEP004", "--per-rule-ignores", f"DEP001={'|'.join(TOO_LARGE)}")
    assert complaints(ROOT, "tests", "benchmarks", "examples", *words) == []


def test_an_undeclared_import_and_a_dependency_in_vain_are_noticed(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "hf_affscore"
    package.mkdir()
    (package / "__init__.py").write_text("import httpx2\nimport numpy\n", encoding="utf-8")
    found = " ".join(complaints(tmp_path, "hf_affscore"))
    assert "DEP001 'httpx2'" in found or "DEP003 'httpx2'" in found
    assert "DEP002 'torch'" in found
    assert "'numpy'" not in found
