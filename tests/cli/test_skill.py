"""The skill: written where assistants look, and never over somebody's file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import hf_affscore
from hf_affscore.cli import main
from tests.docs.pages import ROOT


def install(*options: str) -> object:
    with pytest.raises(SystemExit) as stop:
        main(["skill", "install", *options])
    return stop.value.code


@pytest.mark.parametrize("path", ["SKILL.md", "docs/llms.txt"])
def test_the_package_has_the_files_of_the_repository(path: str) -> None:
    """Copies: a link is its own text in a checkout on Windows, and in an archive that pip unpacks."""
    copy = Path(hf_affscore.__file__).parent / "assets" / "skill" / Path(path).name
    assert not copy.is_symlink()
    assert copy.read_bytes() == (ROOT / path).read_bytes(), f"cp {path} {copy.relative_to(ROOT)}"


def test_the_files_of_the_repository_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert install() == 0
    folder = Path(".claude/skills/hf-affscore")
    assert capsys.readouterr().out.split() == [str(folder / "SKILL.md")] * 2
    skill = (folder / "SKILL.md").read_text()
    assert (folder / "llms.txt").read_bytes() == (ROOT / "docs" / "llms.txt").read_bytes()
    assert skill.replace("llms.txt", "docs/llms.txt") == (ROOT / "SKILL.md").read_text()
    assert yaml.safe_load(skill.split("---")[1])["name"] == folder.name, "assistants want the folder's name"
    linked = re.findall(r"\]\(([^)]+)\)", skill)
    assert linked
    assert all((folder / link).is_file() for link in linked)


@pytest.mark.parametrize("name", ["SKILL.md", "llms.txt"])
def test_a_file_of_somebody_else_stays(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "hf-affscore" / name
    theirs.parent.mkdir()
    theirs.write_text("mine")
    assert "is there with another content" in str(install("--target", str(tmp_path)))
    assert [path.name for path in theirs.parent.iterdir()] == [name]
    assert theirs.read_text() == "mine"
    assert install("--target", str(tmp_path), "--force") == 0
    assert theirs.read_text() != "mine"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Name another folder with --target" in str(install("--target", str(tmp_path / "file")))
