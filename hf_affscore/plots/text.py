"""Text in pictures: measured, shortened and wrapped to a width, in a font that has its characters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, fontManager, get_font
from matplotlib.text import Text

from hf_affscore.names import columns, one_line, path_end, shortened

#: The font of all pictures; matplotlib brings it along.
FONT = "DejaVu Sans"

#: Shown for a character that no installed font has.
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_DPI = 300


def text_width(text: str, size: float) -> float:
    """The width of a line in inches, with 2 % to spare: glyphs move to whole dots where the picture has few."""
    font = FontProperties(family=fonts([text]), size=size)
    renderer: Any = _renderer()  # without types in matplotlib
    return float(renderer.get_text_width_height_descent(text, font, False)[0]) / _DPI * 1.02


def fitted(text: str, width: float, size: float) -> str:
    """``text`` shortened in the middle to at most ``width`` inches; empty if nothing fits."""
    return _fitted([text], width, size, lambda texts, room: [shortened(each, room) for each in texts])[0]


def fitted_paths(paths: Sequence[str], width: float, size: float) -> list[str]:
    """The ends of paths of modules, at most ``width`` inches each; empty if nothing fits."""
    return _fitted(paths, width, size, lambda texts, room: [path_end(each, room) for each in texts])


def wrapped(text: str, width: float, size: float) -> list[str]:
    """``text`` in lines of at most ``width`` inches, broken between words; a longer word is shortened."""
    lines: list[str] = []
    for word in (fitted(each, width, size) for each in text.split()):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def drawable(text: str) -> str:
    r"""``text`` on one line, with a replacement for every character that no installed font has.

    Example:
        >>> drawable("a name\nof two lines")
        'a name of two lines'
    """
    return "".join(each if _font_with(each) else _UNKNOWN for each in one_line(text))


def fonts(texts: Iterable[str]) -> list[str]:
    """The names of the fonts that together have the characters of ``texts``, the usual one first.

    Example:
        >>> fonts(["resnet", "сеть"])
        ['DejaVu Sans']
    """
    found = {_font_with(each) for each in set().union(*texts)}
    return [FONT, *sorted(name for name in found if name and name != FONT)]


def write(figure: Figure, x: float, y: float, text: str, size: float, **look: Any) -> Text:
    """Write a line into ``figure``, ``x`` and ``y`` inches from its lower left corner; ``$`` is no formula."""
    width, height = figure.get_size_inches()
    return figure.text(
        x / width, y / height, text, fontsize=size, fontfamily=fonts([text]), parse_math=False, **look
    )


def _fitted(
    texts: Sequence[str], width: float, size: float, shorten: Callable[[Sequence[str], int], list[str]]
) -> list[str]:
    """``texts`` as ``shorten`` makes them in the largest number of columns that fits."""
    texts = [drawable(text) for text in texts]
    room = max(map(columns, texts), default=0)
    short = texts
    while room and max(text_width(text, size) for text in short) > width:
        widest = max(text_width(text, size) for text in short)
        room = min(room - 1, int(room * width / widest) + 1)
        short = shorten(texts, room)
    return short


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]


@cache
def _font_with(character: str) -> str | None:
    """The name of an installed font that has ``character``."""
    candidates = _candidates()
    for entry in candidates:
        if get_font(entry.fname).get_char_index(ord(character)):
            if entry.name != FONT:  # it has other characters of this script too: try it earlier
                candidates.remove(entry)
                candidates.insert(1, entry)
            return entry.name
    return None


@cache
def _candidates() -> list[FontEntry]:
    """Installed fonts in the order in which they are tried: the usual one, then upright ones of normal weight."""
    entries = [each for each in fontManager.ttflist if not each.name.startswith("Last Resort")]
    return sorted(
        entries, key=lambda each: (each.name != FONT, each.style != "normal", each.weight != 400, each.name)
    )
