"""A picture of a difference: the scores of both networks over one another, and the changes below."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_affscore.plots.style import COLOURS, GREY, new_figure, plain, save, style

if TYPE_CHECKING:
    from hf_affscore.comparison import Difference

_LETTERS = 17  # characters of the caption per inch


def plot_difference(difference: Difference, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the scores of A and B, paired, and below them every change with its 95 % interval.

    The index on the horizontal axis is that of the table. Changes beyond noise are filled, others are hollow, and
    what could not be tested is a cross.

    Args:
        difference: The result of :meth:`hf_affscore.comparison.Comparison.difference`.
        path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.

    Raises:
        InputError: ``path`` has another suffix or cannot be written.
    """
    rows = sorted(difference.changes, key=lambda row: row.index)
    at = np.array([row.index for row in rows])
    values = {
        name: np.array([row[name] for row in rows], dtype=np.float64)
        for name in ("first", "second", "change", "stderr")
    }
    tested = np.array([row.untested is None for row in rows], dtype=bool)
    changed = np.array([row.significant for row in rows], dtype=bool)
    with style():
        figure = new_figure(float(np.clip(4 + 0.12 * len(rows), 7, 14)), 5.2)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])
        top.vlines(at, values["first"], values["second"], color=GREY, linewidth=1)
        for name, letter, colour, marker in (
            ("first", "A", COLOURS[0], "o"),
            ("second", "B", COLOURS[1], "s"),
        ):
            label = f"{letter}  {plain(difference.names[letter == 'B'], 48)}"
            top.plot(at, values[name], marker, color=colour, markersize=4, label=label)
        top.set(ylim=(-0.03, 1.03), ylabel="affinity score (1 = affine)")
        bottom.axhline(0, color=GREY, linewidth=0.8)
        bottom.errorbar(
            at[tested], values["change"][tested], 1.96 * values["stderr"][tested], fmt="none", ecolor=GREY
        )
        for chosen, fill, name in (
            (changed, COLOURS[1], "beyond noise"),
            (tested & ~changed, "white", "may be noise"),
        ):
            if chosen.any():
                bottom.plot(
                    at[chosen],
                    values["change"][chosen],
                    "s",
                    color=COLOURS[1],
                    markerfacecolor=fill,
                    markersize=4,
                    label=name,
                )
        if not tested.all():
            bottom.plot(at[~tested], values["change"][~tested], "x", color=GREY, label="not tested")
        bottom.set(ylabel="change, B - A")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        text = [
            line
            for sentence in difference.verdict
            for line in textwrap.wrap(sentence, int(_LETTERS * figure.get_figwidth()))
        ]
        bottom.set_xlabel("\n".join(["activation, in execution order of A", *text]), fontsize=7, loc="left")
        bottom.xaxis.label.set_parse_math(False)
        handles = [
            pair for axes in (top, bottom) for pair in zip(*axes.get_legend_handles_labels(), strict=True)
        ]
        legend = figure.legend(*zip(*handles, strict=True), loc="outside lower left", ncols=2)
        for entry in legend.get_texts():
            entry.set_parse_math(False)
    if path is not None:
        save(figure, path)
    return figure
