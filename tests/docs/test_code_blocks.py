"""Every code block of the documentation does what its page says: Python runs, commands are real."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from hf_affscore.cli import main, parser
from tests.docs.conftest import store_signatures
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, name

WITH_CODE = [page for page in PAGES if blocks(page, "python", "bash")]
#: The pages that a newcomer types from: their commands run as well, elsewhere they are only parsed.
TYPED = [ROOT / "README.md", ROOT / "docs" / "quickstart.md"]
NO_RUN = "no-run"


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_every_block_works(page, newcomer, capsys):
    """In the order of the page, as somebody would who follows it."""
    if page not in TYPED:  # these make themselves what they use
        store_signatures(newcomer)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python", "bash"):
        if block.language == "bash":
            for arguments in commands(block.code):
                type_in(arguments) if page in TYPED else parser().parse_args(arguments)
        elif NO_RUN not in block.flags:
            run(block, page, namespace)
    printed = capsys.readouterr().out
    for block in blocks(page, "text"):
        assert_shown(block.code, printed)
    for block in blocks(page, "python"):
        for promised in re.findall(r"^print\(.+\)  # (\w+\(.+\))$", block.code, flags=re.MULTILINE):
            assert promised in printed


def test_few_blocks_are_left_out():
    flags = [flag for page in WITH_CODE for block in blocks(page, "python") for flag in block.flags]
    assert set(flags) <= {NO_RUN}
    assert len(flags) <= 3, "a block that cannot run is an exception, and its page says why"


def type_in(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code, arguments


def run(block: Block, page: Path, namespace: dict[str, object]) -> None:
    """A script, or an interactive session with what it prints."""
    if ">>> " not in block.code:
        code = "\n" * (block.line - 1) + block.code  # so that a traceback shows the line of the page
        exec(compile(code, str(page), "exec"), namespace)
        return
    session = doctest.DocTestParser().get_doctest(
        block.code, namespace, name(page), str(page), block.line - 1
    )
    failures: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(session, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    namespace.update(session.globs)


def assert_shown(shown: str, printed: str) -> None:
    """``shown`` was printed, but for what ``...`` stands for; scores may differ by rounding."""
    score, chance = re.compile(r"\b[01]\.\d{4}\b"), re.compile(r"\b\de-\d+\b")

    def without_digits(text: str) -> str:
        return chance.sub("p", score.sub("#", text))

    passages = [re.escape(without_digits(passage.strip("\n"))) for passage in shown.split("...\n")]
    assert re.search(".*".join(passages), without_digits(printed), flags=re.DOTALL), (
        f"{shown}\nbut:\n{printed}"
    )
    really = [float(text) for text in score.findall(printed)]
    for text in score.findall(shown):
        assert min(abs(float(text) - value) for value in really) < 2e-4, f"{text} was not printed"
