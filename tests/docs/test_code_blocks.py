"""Every code block of the documentation does what the page says: Python runs, commands are real."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from hf_affscore.cli import main, parser
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, name

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
WITH_BASH = [page for page in PAGES if blocks(page, "bash")]
#: The pages that a newcomer types from: their commands run as well.
TYPED = [ROOT / "README.md", ROOT / "docs" / "quickstart.md"]


def run(block: Block, page: Path, namespace: dict[str, object]) -> None:
    """A script, or an interactive session with what it prints."""
    if ">>> " in block.code:
        session = doctest.DocTestParser().get_doctest(
            block.code, namespace, name(page), str(page), block.line - 1
        )
        failures: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(session, out=failures.append, clear_globs=False)
        assert not failures, "".join(failures)
        namespace.update(session.globs)
    else:
        code = "\n" * (block.line - 1) + block.code  # so that a traceback shows the line of the page
        exec(compile(code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_runs(page, newcomer):
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        if "no-run" not in block.flags:
            run(block, page, namespace)


@pytest.mark.parametrize("page", WITH_BASH, ids=name)
def test_commands_are_understood(page):
    for block in blocks(page, "bash"):
        for arguments in commands(block.code):
            parser().parse_args(arguments)


def test_most_python_blocks_run():
    skipped = [block for page in WITH_PYTHON for block in blocks(page, "python") if "no-run" in block.flags]
    assert len(skipped) <= 3, "a block that cannot run is an exception, and its page says why"
    unknown = [flag for page in WITH_PYTHON for block in blocks(page, "python") for flag in block.flags]
    assert set(unknown) <= {"no-run"}


@pytest.mark.parametrize("page", TYPED, ids=name)
def test_what_a_newcomer_types_works_and_prints_what_the_page_shows(page, newcomer, capsys):
    printed = ""
    for block in blocks(page, "bash"):
        for arguments in commands(block.code):
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert not stop.value.code, arguments
            printed += capsys.readouterr().out
    for block in blocks(page, "text"):
        assert_shown(block.code, printed)


def assert_shown(shown: str, printed: str) -> None:
    """``shown`` was printed, but for passages that ``...`` stands for and the last digits of scores."""
    score = re.compile(r"\b[01]\.\d{4}\b")
    passages = [re.escape(score.sub("0.0000", passage.strip("\n"))) for passage in shown.split("...\n")]
    found = re.search(".*?".join(passages), score.sub("0.0000", printed), flags=re.DOTALL)
    assert found, f"the page shows\n{shown}\nand this was printed:\n{printed}"
    digits = [float(text) for text in score.findall(shown)]
    skipped = score.findall(printed)
    assert all(any(abs(digit - float(text)) < 2e-4 for text in skipped) for digit in digits)
