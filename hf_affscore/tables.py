"""Tables as text that fits a terminal, and as HTML. Cells are shortened in the middle where they have to be."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hf_affscore.names import columns, one_line, short_paths, shortened

#: Columns where the output is no terminal and the environment does not say COLUMNS.
PLAIN_WIDTH = 120

#: Narrower than this a table leaves out what it can do without.
NARROW = 100

#: Narrower than this also what a reader looks for second: half a screen, a phone.
TIGHT = 76

_GAP = 2
_LEAST = 8  # columns that a shortened column keeps


@dataclass(frozen=True)
class Column:
    """The heading of a column, and how its cells are set."""

    heading: str
    right: bool = False
    flexible: bool = False  # its cells may be shortened
    paths: bool = False  # of modules, which are shortened as such


def terminal_width() -> int:
    """The columns of the terminal; :data:`PLAIN_WIDTH` where the output goes to a file or another program."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns


def text_table(heads: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> str:
    """A table of at most ``width`` columns, as far as its flexible columns can be shortened.

    Example:
        >>> heads = [Column("module", paths=True), Column("score", right=True)]
        >>> print(text_table(heads, [["encoder.layers.11.activation", "0.5"], ["relu", "0.75"]], 24))
        module             score
        enco.laye.11.acti    0.5
        relu                0.75
    """
    filled = [[head.heading, *map(one_line, cells)] for head, *cells in zip(heads, *lines, strict=True)]
    widths = [max(map(columns, cells)) for cells in filled]
    widths = _fitted(widths, [head.flexible or head.paths for head in heads], width - _GAP * (len(heads) - 1))
    filled = [_set(*column) for column in zip(heads, filled, widths, strict=True)]
    return "\n".join((" " * _GAP).join(cells).rstrip() for cells in zip(*filled, strict=True))


def html_table(heads: Sequence[Column], lines: Sequence[Sequence[str]]) -> str:
    """The same table as HTML, with every cell escaped."""

    def row(tag: str, cells: Sequence[str]) -> str:
        sides = ("right" if head.right else "left" for head in heads)
        made = (
            f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(row("td", line) for line in lines)
    top = row("th", [head.heading for head in heads])
    return f"<table>\n<thead>{top}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def wrapped(text: str, width: int, indent: int = 0) -> str:
    """A sentence in lines of at most ``width`` columns; names are not broken.

    Args:
        text: The sentence.
        width: Columns of a line.
        indent: Blanks before every line but the first.
    """
    lines = [""]
    for place, word in enumerate(one_line(text).split(" ")):
        longer = f"{lines[-1]} {word}" if place else word
        if columns(longer) <= width or not lines[-1].strip():
            lines[-1] = longer
        elif word:
            lines.append(" " * indent + word)
    return "\n".join(line.rstrip() for line in lines)


def _fitted(widths: list[int], flexible: list[bool], room: int) -> list[int]:
    """The widths of columns in ``room``: the widest flexible column gives way first."""
    widths = list(widths)
    while sum(widths) > room:
        widest = max((width for width, may in zip(widths, flexible, strict=True) if may), default=0)
        if widest <= _LEAST:
            break
        widths[next(i for i, width in enumerate(widths) if flexible[i] and width == widest)] -= 1
    return widths


def _set(head: Column, cells: Sequence[str], width: int) -> list[str]:
    """The cells of one column, the heading first, shortened to ``width`` and filled up with blanks."""
    heading, *cells = cells
    short = short_paths(cells, width) if head.paths else [shortened(cell, width) for cell in cells]
    short = [shortened(heading, width), *short]
    width = max(map(columns, short))
    blanks = [" " * (width - columns(cell)) for cell in short]
    return [blank + cell if head.right else cell + blank for cell, blank in zip(short, blanks, strict=True)]
