"""What is released: a wheel and a source distribution that install and work, under the version of their tag."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import hf_affscore
from tests.release.building import LEFT_OVER, ROOT, run

VERSION = hf_affscore.__version__


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_wheel_is_small_and_the_source_has_its_tests(distributions):
    wheel = distributions / f"hf_affscore-{VERSION}-py3-none-any.whl"
    assert wheel.stat().st_size < 2e6
    with tarfile.open(distributions / f"hf_affscore-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "docs/conf.py", "examples/quickstart.ipynb", "LICENSE"} <= names
    assert [name for name in names if name.endswith(".pyc")] == []


def test_the_wheel_has_what_assistants_read(distributions):
    """The files themselves, not the paths of links to them."""
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for path in ("SKILL.md", "docs/llms.txt"):
            content = archive.read(f"hf_affscore/assets/skill/{Path(path).name}")
            assert content == (ROOT / path).read_bytes()


def test_two_builds_of_a_wheel_have_the_same_bytes(distributions, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    shutil.copytree(ROOT, tmp_path / "source", ignore=LEFT_OVER)
    for path in (tmp_path / "source").rglob("*"):
        os.utime(path, (1, 1_600_000_000))  # another checkout has other dates
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", cwd=tmp_path / "source")
    (again,) = (tmp_path / "source" / "dist").iterdir()
    assert sha256(again) == sha256(wheel)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".whl", ".tar.gz"])
def test_it_installs_and_passes_the_demo(kind, distributions, tmp_path):
    """In a fresh environment that borrows the dependencies: to install torch again would take minutes."""
    (distribution,) = distributions.glob(f"*{kind}")
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    )
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    install = (
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--ignore-installed",
    )
    run(python, *install, distribution, cwd=tmp_path)
    where = run(python, "-c", "import hf_affscore; print(hf_affscore.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(packages)
    command = environment / "bin" / "hf-affscore"
    assert run(command, "--version", cwd=tmp_path).strip() == f"hf-affscore {VERSION}"
    assert "19 scores" in run(command, "demo", cwd=tmp_path)


def test_a_version_tag_names_this_version():
    """On the commit of a release; elsewhere there is no tag, and in a source distribution no history."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        trusting = ("-c", f"safe.directory={ROOT}")  # a checkout may belong to another user
        assert_tags(run("git", *trusting, "tag", "--points-at", "HEAD", cwd=ROOT).split(), VERSION)


def assert_tags(tags: list[str], version: str) -> None:
    wrong = [tag for tag in tags if tag.startswith("v") and tag != f"v{version}"]
    assert not wrong, f"this commit is tagged {wrong}, but __version__ is {version}"


def test_a_tag_with_another_version_is_noticed():
    assert_tags(["v1.2.3", "nightly"], "1.2.3")
    with pytest.raises(AssertionError, match="tagged"):
        assert_tags(["v1.2.4"], "1.2.3")
