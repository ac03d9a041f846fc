"""What a Gradio Space gets along: requirements that install, and a wheel that is this package."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from huggingface_hub import RepoCard
from packaging.requirements import Requirement

import hf_affscore
from hf_affscore.errors import InputError
from hf_affscore.metrics.publish import publish
from hf_affscore.publish import bundle
from hf_affscore.spaces.push import push_gallery
from tests.hub import LocalHub
from tests.hub.storage import Blob

VERSION = hf_affscore.__version__
WHEEL = f"hf_affscore-{VERSION}-py3-none-any.whl"
PACKAGE = Path(hf_affscore.__file__).parent


def pushed(hub: LocalHub) -> dict[str, bytes]:
    push_gallery("ada/gallery", "ada/signatures", sdk="gradio", token=hub.token("ada", pays=True))
    return hub.files("space", "ada/gallery")


def test_the_wheel_is_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip checks names, metadata and the checksums of what it installs."""
    checkout = tmp_path / "checkout" / "hf_affscore"
    shutil.copytree(PACKAGE, checkout, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / ".env").write_text("HF_TOKEN=secret")
    monkeypatch.setattr(bundle, "files", lambda name: checkout)
    (tmp_path / WHEEL).write_bytes(bundle.wheel())
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", "there", WHEEL)
    done = subprocess.run([sys.executable, *install], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = tmp_path / "there"
    assert (there / "bin" / "hf-affscore").exists()
    ours = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert all((there / path.relative_to(PACKAGE.parent)).read_bytes() == path.read_bytes() for path in ours)
    names = [path.relative_to(there).as_posix() for path in (there / "hf_affscore").rglob("*")]
    assert not [name for name in names if "/." in name], "what hides in a checkout stays there"
    assert bundle.wheel() == bundle.wheel()


def test_the_requirements_are_those_of_the_package_and_its_pages() -> None:
    found = {Requirement(line).name: Requirement(line) for line in bundle.requirements()}
    assert {"torch", "datasets", "evaluate", "matplotlib", "dtaidistance", "gradio"} <= found.keys()
    assert found["gradio"].extras == {"mcp"}
    assert not {"pytest", "timm", "sphinx", "hf-affscore"} & found.keys()


PAGE = """
from pathlib import Path
import hf_affscore
from hf_affscore.assets import DEMO_MODEL
print(Path(hf_affscore.__file__).parent, Path(DEMO_MODEL).is_dir(), Path(__file__).name)
"""


def test_the_page_runs_with_the_package_of_the_wheel(hub: LocalHub, tmp_path: Path) -> None:
    """Even where another is found first."""
    other = tmp_path / "other" / "hf_affscore"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('not this one')")
    for name, content in {**pushed(hub), "page.py": PAGE.encode()}.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "app.py"],
        env=os.environ | {"PYTHONPATH": str(other.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    package, is_folder, name = done.stdout.split()
    assert Path(package) != PACKAGE
    assert (is_folder, name) == ("True", "page.py")


def test_what_pypi_has_is_installed_from_there(hub: LocalHub) -> None:
    """And what only brought the wheel along is no longer run; the wheel itself goes."""
    before = pushed(hub)
    assert WHEEL in before
    hub.fail("GET", f"/pypi/hf-affscore/{VERSION}/json", 200)
    files = pushed(hub)
    assert files["requirements.txt"] == f"hf-affscore[plots,compare,space]=={VERSION}\n".encode()
    assert files["app.py"] == before["page.py"]
    assert not [path for path in files if path.endswith(".whl")]


def test_a_newer_wheel_takes_the_place_of_the_old_one(hub: LocalHub) -> None:
    pushed(hub)
    repo = hub.repo("space", "ada/gallery")
    others = {
        "hf_affscore-0.0.1-py3-none-any.whl": Blob(b"old", lfs=False),
        "a.whl": Blob(b"mine", lfs=False),
    }
    repo.commit("main", others, "what was there")
    assert {path for path in pushed(hub) if path.endswith(".whl")} == {WHEEL, "a.whl"}
    commits = len(repo.history())
    pushed(hub)
    assert len(repo.history()) == commits, "the same again is no commit"


def test_a_pypi_that_cannot_be_asked_is_none(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "INDEX", "http://127.0.0.1:9")
    assert WHEEL in pushed(hub)


def test_a_package_that_is_not_installed_is_said(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(bundle, "distribution", missing)
    with pytest.raises(InputError, match="without being installed"):
        pushed(hub)


def test_a_space_has_a_python_and_a_gradio_that_the_package_allows(hub: LocalHub) -> None:
    """A Space has Python 3.10 unless its card says otherwise."""
    publish("ada/affinity_signature", sdk="gradio", token=hub.token("ada", pays=True))
    gradio = next(Requirement(line) for line in bundle.requirements() if line.startswith("gradio"))
    with zipfile.ZipFile(io.BytesIO(bundle.wheel())) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = archive.read(name).decode()
    (python,) = (line for line in metadata.splitlines() if line.startswith("Requires-Python"))
    for card in (pushed(hub)["README.md"], hub.files("space", "ada/affinity_signature")["README.md"]):
        data = RepoCard(card.decode()).data
        assert Requirement(f"python{python.partition(':')[2]}").specifier.contains(data["python_version"])
        assert gradio.specifier.contains(data["sdk_version"])
