"""The site builds without a warning, offline, and its reference lacks nothing."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hf_affscore as ha
from docs import command_line
from hf_affscore import errors
from hf_affscore.cli import parser
from tests.docs.pages import PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make docs`` builds."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--builder", "html", "--doctree-dir"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(folder / ".trees"), "docs", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built(site):
    written = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert {page.stem for page in site.glob("*.html")} >= written
    assert (site / "llms.txt").is_file()


def test_the_readme_links_every_page():
    """But for the reference and the start page of the site."""
    pages = {page.stem for page in PAGES if page.parent.name == "docs" and page.suffix == ".md"}
    linked = re.findall(r"\(docs/(\w+)\.md", (ROOT / "README.md").read_text())
    assert pages - {"api", "cli", "index"} == set(linked)


def test_every_public_name_is_in_the_reference(site):
    documented = set(re.findall(r'id="(hf_affscore[\w.]*)"', (site / "api.html").read_text()))
    missing = []
    for name in ha.__all__:
        value = getattr(ha, name)
        if not {f"hf_affscore.{name}", f"{value.__module__}.{name}"} & documented:
            missing.append(name)
    members = [name for name in vars(ha.Signature) if not name.startswith("_")]
    assert len(members) > 10
    missing += [name for name in members if f"hf_affscore.Signature.{name}" not in documented]
    missing += [name for name in errors.__all__ if f"hf_affscore.errors.{name}" not in documented]
    assert not missing, f"docs/api.md lacks {missing}"


def test_the_keywords_of_analyze_are_explained(site):
    text = (site / "api.html").read_text()
    section = text[text.index('id="hf_affscore.analyze"') : text.index('id="hf_affscore.analyze_many"')]
    for name in inspect.signature(ha.analyze).parameters:
        assert f"<strong>{name}</strong>" in section


def test_the_page_of_the_command_line_is_that_of_the_parser():
    assert command_line.PAGE.read_text() == command_line.page(), "python -m docs.command_line"


def test_the_page_of_the_command_line_has_every_command_and_option(capsys):
    """Against what argparse itself prints."""
    sections = re.split(r"^## ", command_line.page(), flags=re.MULTILINE)[1:]
    assert len(sections) > 10
    for section in sections:
        with pytest.raises(SystemExit):
            parser().parse_args([*section.splitlines()[0].split()[1:], "--help"])
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section)) >= options
