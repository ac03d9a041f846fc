"""A picture of one signature: the affinity score of every activation, in execution order, and what to make of it.

From top to bottom: title, key, stages, scores, the lowest and highest by name, verdict. Every part has its place in
inches before anything is drawn, so that no name, however long, covers another or takes room from the scores.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from hf_affscore.evidence import evidence_of
from hf_affscore.listing import named, said_once
from hf_affscore.plots.key import LINE, Mark, draw_key, key_lines
from hf_affscore.plots.style import GREY, beginning, look, new_figure, save, style
from hf_affscore.plots.text import drawable, fitted, fitted_paths, text_width, wrapped, write
from hf_affscore.plots.tree import Stage, series, stages
from hf_affscore.reference import Reference, reference_for
from hf_affscore.signature import Record, Signature, images
from hf_affscore.summary import column

#: This many of the lowest and of the highest scores are named; twice as many rows are all named.
EXTREMES = 3

_LEFT, _RIGHT = 0.95, 0.15  # inches beside the scores
_SCORES = 3.3  # inches of height
_SMALL, _TITLE = 7.5, 11.0  # points
_TEXT_LINE = 0.155  # inches from one line of small text to the next
_LEAST_NAME = 0.5  # inches that the shortened name of a stage needs
_BAND, _USUAL, _QUIET = "#EEF1F4", "#CFCFCF", "#444444"


def plot_signature(
    signature: Signature, path: str | os.PathLike[str] | None = None, *, reference: bool = False
) -> Figure:
    """Draw the score of every activation at its index in the tables.

    Colour and marker tell the kind of activation and, where names show it, the place in a repeated block. A score
    that is not evidence is a hollow point, an undefined one a cross at the bottom; bars are confidence intervals.
    Shaded bands are the stages of the network. Below are the names of the lowest and highest scores, and the
    verdict.

    Args:
        signature: The signature to draw.
        path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.
        reference: Whether to draw the scores of well-known networks behind, in grey
            (:mod:`hf_affscore.reference`).

    Returns:
        The figure, without a window; ``figure.savefig`` and ``figure.axes`` work as usual.

    Raises:
        InputError: ``path`` has another suffix or cannot be written, or the reference is of other settings.

    Example:
        >>> row = Record(index=0, module="act", activation="ReLU", call=0, affinity_score=0.5)
        >>> figure = plot_signature(Signature(rows=(row,), skipped=(), metadata={}))
        >>> figure.axes[0].get_xlabel()
        'index of the activation, in execution order'
    """
    band = reference_for(signature) if reference else None
    rows = signature.rows
    width = float(np.clip(6 + 0.02 * len(rows), 7, 11))
    room = width - _LEFT - _RIGHT
    prefix, names = named(rows)
    lowest, highest = _extremes(rows)
    listed = 1 + max(len(lowest), len(highest)) if lowest else 0
    groups = series(rows)
    key = key_lines(_marks(rows, groups, band), room)
    below = [*said_once(prefix), *signature.verdict, *([band.caption] if band else [])]
    caption = [line for text in below for line in wrapped(drawable(text), room, _SMALL)]
    parts = stages(rows)
    heights = {
        "title": 0.6,
        "key": LINE * len(key) + 0.05,
        "stages": 0.2 if parts else 0.08,
        "scores": _SCORES,
        "axis": 0.5,
        "names": _TEXT_LINE * listed + 0.08,
        "caption": _TEXT_LINE * len(caption) + 0.1,
    }
    tops, top = {}, sum(heights.values())
    with style():
        figure = new_figure(width, top, layout=None)
        for part, height in heights.items():
            tops[part], top = top, top - height
        _title(figure, signature, tops["title"], room)
        draw_key(figure, key, _LEFT, tops["key"])
        axes = figure.add_axes(
            (_LEFT / width, tops["axis"] / tops["title"], room / width, _SCORES / tops["title"])
        )
        _axes(axes, rows, band)
        _stages(figure, axes, parts, prefix, tops["scores"] + 0.05)
        if band:
            _band(axes, len(rows), band)
        _intervals(axes, rows)
        _points(axes, rows, groups)
        if len(rows) > 2 * EXTREMES:
            _numbers(axes, rows, lowest, highest)
        _names(figure, rows, names, (lowest, highest), tops["names"], room)
        for line, text in enumerate(caption):
            y = tops["caption"] - _TEXT_LINE * (line + 1)
            write(figure, _LEFT, y, text, _SMALL, color=_QUIET)
    if path is not None:
        save(figure, path)
    return figure


def _extremes(rows: Sequence[Record]) -> tuple[list[int], list[int]]:
    """The rows to name in two columns: the lowest and highest that are evidence, or all where there are few."""
    if len(rows) <= 2 * EXTREMES:
        half = -(-len(rows) // 2)
        return list(range(half)), list(range(half, len(rows)))
    found = [place for place, row in enumerate(rows) if evidence_of(row) == "ok"]
    found.sort(key=lambda place: (rows[place].affinity_score, place))
    count = min(EXTREMES, len(found) // 2)
    return found[:count], found[len(found) - count :][::-1]


def _marks(rows: Sequence[Record], groups: Sequence[str], band: Reference | None) -> list[Mark]:
    """The key: only what occurs."""
    words = [evidence_of(row) for row in rows]
    marks = [Mark(group, colour, marker) for group, (colour, marker) in look(_by_size(groups)).items()]
    if any(word not in ("ok", "undefined") for word in words):
        marks.append(Mark("hollow: no evidence", GREY, "o", "white"))
    if "undefined" in words:
        marks.append(Mark("undefined", GREY, "x"))
    if np.isfinite(_ends(rows)).all(axis=0).any():
        marks.append(Mark("95 % interval", GREY, "|"))
    if band:
        marks.append(Mark("reference (see below)", _USUAL))
    return marks


def _title(figure: Figure, signature: Signature, top: float, room: float) -> None:
    write(figure, _LEFT, top - 0.3, fitted(signature.name, room, _TITLE), _TITLE)
    write(figure, _LEFT, top - 0.5, fitted(images(signature), room, 8.5), 8.5, color=_QUIET)


def _axes(axes: Axes, rows: Sequence[Record], band: Reference | None) -> None:
    """Both axes; that of the scores begins where it lets them be told apart, and says so."""
    begin = beginning(
        np.concatenate([column(rows, "affinity_score"), _ends(rows)[0], band.lowest if band else []])
    )
    span = 1 - begin
    axes.set_ylim(begin - 0.04 * span, 1 + 0.05 * span)
    margin = max(0.5, 0.01 * len(rows))
    axes.set_xlim(-margin, max(len(rows), 1) - 1 + margin)
    axes.yaxis.set_major_locator(FixedLocator(np.linspace(begin, 1, 6).tolist()))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "1 = affine" if value == 1 else f"{value:.4g}")
    )
    axes.set_ylabel("affinity score" + (f" (the axis begins at {begin:g})" if begin else ""), fontsize=8.5)
    axes.set_xlabel("index of the activation, in execution order", fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=8)
    axes.yaxis.set_label_coords((0.22 - _LEFT) / _size(axes)[0], 0.5)
    axes.axhline(1, color=GREY, linewidth=0.8, zorder=0.9)


def _stages(figure: Figure, axes: Axes, parts: Sequence[Stage], prefix: str, y: float) -> None:
    """Shade every other stage, and write the names of those that are wide enough above them."""
    left, right = axes.get_xlim()
    step = _size(axes)[0] / (right - left)
    parents = [part.parent for part in parts]
    common = max(parents, key=parents.count, default="")
    if around := common.removeprefix(prefix).removesuffix("."):
        (text,) = fitted_paths([around], _LEFT - 0.1, _SMALL)
        write(figure, _LEFT - 0.06, y, text, _SMALL, ha="right", color=_QUIET)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            ends = max(part.first - 0.5, left), min(part.last + 0.5, right)
            axes.axvspan(*ends, color=_BAND, linewidth=0, zorder=0)
        name = part.name if part.parent == common else f"{part.parent}{part.name}".removeprefix(prefix)
        room = (part.last - part.first + 1) * step - 0.06
        (text,) = fitted_paths([name], room, _SMALL)
        if text == name or room > _LEAST_NAME:
            middle = _LEFT + ((part.first + part.last) / 2 - left) * step
            write(figure, middle, y, text, _SMALL, ha="center", color=_QUIET)


def _band(axes: Axes, rows: int, band: Reference) -> None:
    """The scores of well-known networks, stretched over ``rows`` activations."""
    at = band.depth * (rows - 1)
    axes.fill_between(at, band.lowest, band.highest, color=_USUAL, alpha=0.6, linewidth=0, zorder=0.5)
    axes.plot(at, band.median, color="#9A9A9A", linewidth=1.2, zorder=0.6)


def _points(axes: Axes, rows: Sequence[Record], groups: Sequence[str]) -> None:
    scores = column(rows, "affinity_score")
    solid = np.array([evidence_of(row) == "ok" for row in rows], dtype=bool)
    size = 6.0 if len(rows) <= 60 else 4.5 if len(rows) <= 150 else 3.2
    for group, (colour, marker) in look(_by_size(groups)).items():
        mine = np.array([each == group for each in groups], dtype=bool) & np.isfinite(scores)
        for chosen, fill in ((mine & solid, colour), (mine & ~solid, "white")):
            (at,) = np.nonzero(chosen)
            if at.size:
                axes.plot(
                    at, scores[at], marker, color=colour, markerfacecolor=fill, markersize=size, clip_on=False
                )
    (at,) = np.nonzero(~np.isfinite(scores))
    if at.size:
        bottom = np.full(at.size, axes.get_ylim()[0])
        axes.plot(at, bottom, "x", color=GREY, markersize=size, clip_on=False)


def _intervals(axes: Axes, rows: Sequence[Record]) -> None:
    low, high = _ends(rows)
    (at,) = np.nonzero(np.isfinite(low) & np.isfinite(high))
    if at.size:
        axes.vlines(
            at,
            low[at],
            high[at],
            color=GREY,
            linewidth=2.5 if len(rows) <= 150 else 1.2,
            alpha=0.6,
            zorder=1.9,
        )


def _ends(rows: Sequence[Record]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Both ends of the confidence intervals, nan where a row has none: shape ``(2, rows)``."""
    return np.array([column(rows, f"affinity_score_{end}") for end in ("low", "high")])


def _numbers(axes: Axes, rows: Sequence[Record], lowest: Sequence[int], highest: Sequence[int]) -> None:
    """Write the index of each named row below its point for the lowest scores, above it for the highest."""
    (width, height), (left, right), (least, most) = _size(axes), axes.get_xlim(), axes.get_ylim()
    for places, side in ((lowest, -1), (highest, 1)):
        written: list[tuple[float, float, float]] = []  # inches: the middle, and half of the width
        for place in sorted(places):
            row = rows[place]
            end = row.get(f"affinity_score_{'low' if side < 0 else 'high'}")
            score = row.affinity_score if end is None or not np.isfinite(end) else end
            x = (place - left) / (right - left) * width
            half = text_width(str(place), _SMALL) / 2 + 0.02
            y = (score - least) / (most - least) * height + side * 0.13
            for at, up, other in sorted(written, key=lambda each: side * each[1]):
                if abs(x - at) < half + other and abs(y - up) < 0.12:
                    y = up + side * 0.12
            written.append((x, y, half))
            where = (place, least + y * (most - least) / height)
            text = axes.text(*where, str(place), ha="center", va="center", fontsize=_SMALL)
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _names(
    figure: Figure,
    rows: Sequence[Record],
    names: Sequence[str],
    columns: tuple[Sequence[int], Sequence[int]],
    top: float,
    room: float,
) -> None:
    """Index, name and score of the named rows, in two columns."""
    headings = ("lowest", "highest") if len(rows) > 2 * EXTREMES else ("activations", "")
    most = (room - 0.4) / 2
    texts = {place: f"{rows[place].affinity_score:.4f}" for places in columns for place in places}
    figures = max((text_width(text, _SMALL) for text in texts.values()), default=0)
    digits = text_width(str(len(rows)), _SMALL) + 0.08
    short = fitted_paths([names[place] for place in texts], most - figures - digits - 0.2, _SMALL)
    shown = dict(zip(texts, short, strict=True))
    width = digits + max((text_width(name, _SMALL) for name in short), default=0) + 0.2 + figures
    for heading, places, left in zip(headings, columns, (_LEFT, _LEFT + width + 0.4), strict=True):
        if places:
            write(figure, left, top - _TEXT_LINE, heading, _SMALL, color=_QUIET)
        for line, place in enumerate(places, start=2):
            y = top - _TEXT_LINE * line
            write(figure, left + digits - 0.08, y, str(place), _SMALL, ha="right")
            write(figure, left + digits, y, shown[place], _SMALL)
            write(figure, left + width, y, texts[place], _SMALL, ha="right")


def _size(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes in inches."""
    dots: float = axes.figure.dpi
    return axes.bbox.width / dots, axes.bbox.height / dots


def _by_size(groups: Sequence[str]) -> list[str]:
    """Each group once, that of most rows first."""
    return [group for group, _ in Counter(groups).most_common()]
