"""A picture of correlations: the score against every companion statistic, in each network and over networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hf_affscore.comparison.statistics import FEW
from hf_affscore.errors import InputError
from hf_affscore.plots.style import COLOURS, GREY, label, new_figure, plain, save, style, title

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

_NAME = 40  # characters of a network's name
_PLACE = 0.21  # inches a network takes


def plot_correlations(comparison: Comparison, path: str | os.PathLike[str] | None = None) -> Figure:
    """Correlation of the score with every companion statistic: each network, and the mean and deviation.

    Raises:
        InputError: No signature has a companion statistic.
    """
    if comparison.correlations.empty:
        raise InputError(
            "No signature has a statistic besides the score; expected columns such as cka or norm. "
            "Analyse the networks with this package to have them."
        )
    order = comparison.leaf_order
    table, counts = comparison.correlations.iloc[order], comparison.correlation_counts.iloc[order]
    summary = comparison.correlation_summary()
    statistics = [str(name).replace("_", " ") for name in table.columns]
    few = ((counts < FEW) & table.notna()).to_numpy()
    names = [
        f"{plain(str(name), _NAME)} ({count})"
        for name, count in zip(table.index, counts.max(axis=1), strict=True)
    ]
    with style():
        figure = new_figure(max(0.6 * len(statistics), 2) + 4.4, _PLACE * len(table) + 4)
        top, heat = figure.subplots(2, 1, height_ratios=[2, max(_PLACE * len(table), 0.6)])
        places = range(len(statistics))
        top.axhline(0, color=GREY, linewidth=0.8)
        top.errorbar(places, summary["mean"], summary["std"], fmt="o", color=COLOURS[0], capsize=3)
        top.set(xlim=(-0.5, len(statistics) - 0.5), ylim=(-1.05, 1.05), xticks=[])
        top.set_ylabel("mean and standard\ndeviation over networks", fontsize=8)
        heat.set_facecolor("#CCCCCC")
        image = heat.imshow(table.to_numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        heat.set_xticks(places, [each.replace(" ", "\n") for each in statistics], fontsize=7)
        label(heat.yaxis, names)
        heat.grid(visible=False)
        write_numbers(heat, image, few)
        figure.colorbar(image, ax=[top, heat], label="correlation with the score", shrink=0.6)
        note = "In brackets: the number of scores."
        if few.any():
            note += f" * is a correlation of fewer than {FEW}, which may be chance."
        title(figure, "Does the score go along with other statistics of a network's activations?", note)
    if path is not None:
        save(figure, path)
    return figure


def write_numbers(axes: Axes, image: AxesImage, marked: npt.NDArray[np.bool_] | None = None) -> None:
    """Write each cell's number into it, in black or white, whichever is more readable; a star after marked ones."""
    values: npt.NDArray[np.float64] = np.ma.filled(np.ma.asarray(image.get_array()), np.nan)
    for (line, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(np.asarray(value))
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            ink = "black" if bright else "white"
            star = "*" if marked is not None and marked[line, column] else ""
            axes.text(column, line, f"{value:.2f}{star}", ha="center", va="center", fontsize=6, color=ink)
