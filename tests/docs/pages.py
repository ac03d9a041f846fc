"""The pages that people read, and the code blocks in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
#: ``docs/metric_card.md`` and the like only include pages that are listed here themselves.
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/llms.txt")]
    if "{include}" not in page.read_text()
)


@dataclass(frozen=True)
class Block:
    """A fenced block: ```` ```python no-run ```` has the language ``python`` and the flag ``no-run``."""

    language: str
    flags: tuple[str, ...]
    code: str
    line: int  # of its first line in the page, from 1


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of some languages, in order, those in lists as well."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        language, *flags = token.info.split() or [""]
        if token.type == "fence" and language in languages:
            found.append(Block(language, tuple(flags), token.content, token.map[0] + 2))
    return found


def name(page: Path) -> str:
    """What a test about this page is called."""
    return str(page.relative_to(ROOT))


def commands(shell: str) -> Iterator[list[str]]:
    """The arguments of every ``hf-affscore`` or ``python -m hf_affscore`` in a piece of shell."""
    shell = re.sub(r"<<END.*?^END$", "", shell.replace("\\\n", " "), flags=re.DOTALL | re.MULTILINE)
    for line in shell.splitlines():
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            starts = place == 0 or words[place - 1] in ("&&", ";", "|")
            if (word == "hf-affscore" and starts) or (word == "hf_affscore" and words[place - 1] == "-m"):
                arguments = words[place + 1 :]
                ends = [i for i, each in enumerate(arguments) if each in ("&&", ";", "|")]
                yield arguments[: ends[0]] if ends else arguments
