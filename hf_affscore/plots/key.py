"""The key of a picture: a line or two that say what each mark means, laid out like words in a text."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hf_affscore.plots.text import fitted, text_width, write

SIZE = 8.0
LINE = 0.19  # inches from one line to the next
_MARK = 0.22  # inches for a mark and the gap behind it
_GAP = 0.16
_LONGEST = 2.6


@dataclass(frozen=True)
class Mark:
    """A mark and its meaning: a point, a bar (marker ``|``), or an area (no marker)."""

    meaning: str
    colour: str
    marker: str = ""
    fill: str | None = None  # of a point, where it is not its colour


def key_lines(marks: list[Mark], width: float) -> list[list[tuple[float, Mark]]]:
    """The marks of each line with their distances from its beginning, in inches."""
    lines: list[list[tuple[float, Mark]]] = [[]]
    used = 0.0
    for mark in marks:
        taken = _MARK + text_width(fitted(mark.meaning, _LONGEST, SIZE), SIZE)
        if lines[-1] and used + taken > width:
            lines.append([])
            used = 0.0
        lines[-1].append((used, mark))
        used += taken + _GAP
    return lines


def draw_key(figure: Figure, lines: list[list[tuple[float, Mark]]], left: float, top: float) -> None:
    """Draw the lines, the first ``top`` inches above the lower edge of the figure."""
    width, height = figure.get_size_inches()
    for line, marks in enumerate(lines):
        y = top - LINE * (line + 0.5)
        for start, mark in marks:
            x = left + start
            figure.add_artist(_drawn(mark, x, y, width, height))
            write(figure, x + _MARK, y, fitted(mark.meaning, _LONGEST, SIZE), SIZE, va="center")


def _drawn(mark: Mark, x: float, y: float, width: float, height: float) -> Artist:
    if not mark.marker:
        low, size = ((x - 0.02) / width, (y - 0.05) / height), (0.2 / width, 0.1 / height)
        return Rectangle(low, *size, facecolor=mark.colour, linewidth=0)
    if mark.marker == "|":
        ends = [(y - 0.07) / height, (y + 0.07) / height]
        return Line2D([(x + 0.08) / width] * 2, ends, color=mark.colour, linewidth=2.5)
    return Line2D(
        [(x + 0.08) / width],
        [y / height],
        marker=mark.marker,
        markersize=6,
        linestyle="",
        color=mark.colour,
        markerfacecolor=mark.fill or mark.colour,
    )
