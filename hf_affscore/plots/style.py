"""The common parts of all pictures: style, colours, cleaned text, and reproducible files.

Figures are made with matplotlib's object interface in one fixed style. So the user's ``matplotlibrc``, backend and
open figures do not change a picture, and a picture does not change them.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure

from hf_affscore.errors import InputError
from hf_affscore.names import shortened
from hf_affscore.plots.text import drawable, fonts, wrapped
from hf_affscore.storage import write_atomically

#: Okabe and Ito's colours, which people with the common kinds of colour blindness can tell apart; yellow is left
#: out because it is hard to see on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
GREY: Final = "#888888"

#: Where an axis of scores can begin.
BEGINNINGS: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99)

_TITLE = 10  # points
_PAD = 0.06  # inches around everything that is drawn
_RESOLUTION = 150  # dots per inch of a PNG
#: Formats that can be written, and the metadata to leave out of each, since dates and versions change the bytes.
_FORMATS: Final[dict[str, dict[str, None]]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "hf_affscore",  # identifiers in an SVG are random otherwise
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Use the fixed style while a figure is made or drawn."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of ``width`` x ``height`` inches that makes room for every label, unless told otherwise."""
    figure = Figure(figsize=(width, height), dpi=_RESOLUTION)
    if layout:
        figure.set_layout_engine(layout, w_pad=_PAD, h_pad=_PAD)
    return figure


def beginning(scores: npt.NDArray[np.float64]) -> float:
    """Where an axis of scores begins: at the last of :data:`BEGINNINGS` below all that are defined.

    Example:
        >>> beginning(np.array([0.61, 0.98]))
        0.5
    """
    known = scores[np.isfinite(scores)]
    least = float(known.min()) if known.size else 0.0
    return max(start for start in BEGINNINGS if start == 0 or least >= start + 0.02 * (1 - start))


def title(figure: Figure, text: str, note: str = "") -> None:
    """Write a title at the upper left of a figure, and a note below it."""
    lines = [
        line for each in (text, note) for line in wrapped(drawable(each), figure.get_figwidth() - 0.2, _TITLE)
    ]
    shown = "\n".join(lines)
    figure.suptitle(shown, x=0.01, ha="left", fontsize=_TITLE, fontfamily=fonts(lines), parse_math=False)


def plain(text: str, limit: int = 72) -> str:
    r"""Text from outside, cleaned for drawing: one line, no control characters, shortened in the middle.

    Example:
        >>> plain("a name\nof two lines")
        'a name of two lines'
        >>> plain("timm_model.blocks.0.conv.act", 16)
        'timm_m….conv.act'
    """
    return shortened(drawable(text), limit)


def look(kinds: list[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each kind; pairs repeat after 49 kinds.

    Example:
        >>> look(["ReLU", "GELU"])
        {'ReLU': ('#0072B2', 'o'), 'GELU': ('#D55E00', 's')}
    """
    count = len(COLOURS)
    return {
        kind: (COLOURS[i % count], MARKERS[(i + i // count) % len(MARKERS)]) for i, kind in enumerate(kinds)
    }


def label(axis: Axis, names: Sequence[str]) -> None:
    """Name the positions 0, 1, 2, ... of an axis; ``$`` is drawn as it is, and names on an x axis are vertical."""
    axis.set_ticks(range(len(names)), list(names), fontsize=7, fontfamily=fonts(names), parse_math=False)
    if isinstance(axis, XAxis):
        axis.set_tick_params(rotation=90)


def check_format(path: str | os.PathLike[str]) -> Path:
    """``path`` as a Path, if :func:`save` supports its suffix.

    Raises:
        InputError: The suffix is not supported.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"{path} ends in {suffix or 'no suffix'!r}; expected {', '.join(_FORMATS)}. "
            "The suffix chooses the format of the picture."
        )
    return path


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write ``figure`` to ``path``: the same figure gives the same bytes.

    Raises:
        InputError: The suffix is not supported, or the file cannot be written.
    """
    path = check_format(path)
    buffer = io.BytesIO()
    with style():
        suffix = path.suffix.lower()
        figure.savefig(buffer, format=suffix[1:], metadata=_FORMATS[suffix])
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise InputError(
            f"The picture could not be written to {path}: {error.strerror or error}. "
            "Choose a folder that exists and that you can write to."
        ) from error
