"""Pictures of a comparison: distributions, timeline, distances and correlations.

Every picture grows with the number of networks, so that each network has its own place and a readable name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hf_affscore.comparison.distances import tree
from hf_affscore.comparison.statistics import GRID, defined, density
from hf_affscore.errors import InputError
from hf_affscore.plots.style import COLOURS, GREY, label, new_figure, plain, save, style

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

Target = str | os.PathLike[str]
_NAME = 40  # characters of a network's name
_PLACE = 0.21  # inches a network takes along an axis
_FEW = 12  # up to this many networks, cells are large and carry their number
_BLUE, _VERMILION, _SKY = COLOURS[0], COLOURS[1], COLOURS[5]


def plot_comparison(comparison: Comparison, folder: Target) -> list[Path]:
    """Save every picture of a comparison into ``folder``, as PNG and as PDF, and return the files.

    Correlations are left out if no signature has a companion statistic.
    """
    pictures = {
        "distributions": plot_distributions,
        "timeline": plot_timeline,
        "distances": plot_distances,
    }
    if not comparison.correlations.empty:
        pictures["correlations"] = plot_correlations
    files = []
    for name, draw in pictures.items():
        figure = draw(comparison)
        for suffix in (".png", ".pdf"):
            files.append(Path(folder) / f"{name}{suffix}")
            save(figure, files[-1])
    return files


def plot_distributions(comparison: Comparison, path: Target | None = None) -> Figure:
    """The scores of each network as a histogram with its density curve, in leaf order (paper, section 5)."""
    order = comparison.leaf_order
    columns = min(len(order), 3 if len(order) <= _FEW else 5)
    lines = -(-len(order) // columns)
    with style():
        figure = new_figure(2.7 * max(columns, 2), 1.45 * lines + 0.6)
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in grid.flat[len(order) :]:
            axes.remove()
        for axes, network in zip(grid.flat, order, strict=False):
            scores = defined(comparison.signatures[network])
            axes.hist(scores, bins=20, range=(0, 1), density=True, color=_SKY, alpha=0.6)
            axes.plot(GRID, density(scores), color=_BLUE, linewidth=1.3)
            axes.set(xlim=(-0.02, 1.02), yticks=[], xticks=np.linspace(0, 1, 6))
            axes.tick_params(labelsize=7)
            axes.set_title(plain(comparison.names[network], 30), parse_math=False, fontsize=8)
        figure.supxlabel("affinity score", fontsize=9)
        figure.supylabel("density", fontsize=9)
    return _saved(figure, path)


def plot_timeline(comparison: Comparison, path: Target | None = None) -> Figure:
    """Median, minimum and maximum of each network's scores, beside its accuracy (paper, section 5).

    Networks are in the order of their ``year`` if it is known for all of them, otherwise in the given order.
    Accuracy has its own axis on the right, which is left out if no network has an accuracy.
    """
    table = comparison.networks
    if "year" in table and table["year"].notna().all():
        table = table.sort_values("year", kind="stable")
    names = [plain(str(name), _NAME) for name in table.index]
    if "year" in table:
        known = table["year"].notna()
        names = [f"{n} ({y:g})" if k else n for n, y, k in zip(names, table["year"], known, strict=True)]
    places = np.arange(len(table))
    with style():
        figure = new_figure(max(_PLACE * len(table) + 1.8, 6), 4.8)
        axes = figure.add_subplot()
        axes.vlines(places, table["min"], table["max"], color=GREY, linewidth=1.5, label="minimum to maximum")
        axes.plot(places, table["median"], "o", color=_BLUE, label="median affinity score")
        axes.set(ylabel="affinity score", ylim=(-0.03, 1.03), xlim=(-0.7, len(table) - 0.3))
        label(axes.xaxis, names)
        if table["accuracy"].notna().any():
            right = axes.twinx()
            right.plot(places, table["accuracy"], "D", color=_VERMILION, markersize=4.5, label="accuracy")
            right.set_ylabel("accuracy", color=_VERMILION)
            right.grid(visible=False)
            right.spines["right"].set_visible(True)
        figure.legend(loc="outside lower center", ncols=3)
    return _saved(figure, path)


def plot_distances(comparison: Comparison, path: Target | None = None) -> Figure:
    """The distance matrix in leaf order, under the dendrogram that orders it (paper, section 5)."""
    order = comparison.leaf_order
    names = [plain(comparison.names[i], _NAME) for i in order]
    side = max(_PLACE * len(order), 2.4)
    with style():
        figure = new_figure(side + 4.2, side + 4.0)
        top, heat = figure.subplots(2, 1, height_ratios=[1.2, side])
        image = heat.imshow(comparison.distances[np.ix_(order, order)], cmap="cividis_r", aspect="auto")
        label(heat.xaxis, names)
        label(heat.yaxis, names)
        heat.grid(visible=False)
        if len(order) <= _FEW:
            _write(heat, image)
        _dendrogram(top, comparison.linkage, len(order))
        figure.colorbar(image, ax=[top, heat], label="warping distance", shrink=0.6)
    return _saved(figure, path)


def plot_correlations(comparison: Comparison, path: Target | None = None) -> Figure:
    """Correlation of the score with every companion statistic: each network, and the mean and deviation.

    Raises:
        InputError: No signature has a companion statistic.
    """
    if comparison.correlations.empty:
        raise InputError(
            "No signature has a statistic besides the score; expected columns such as cka or norm. "
            "Analyse the networks with this package to have them."
        )
    table = comparison.correlations.iloc[comparison.leaf_order]
    summary = comparison.correlation_summary()
    statistics = [str(name).replace("_", " ") for name in table.columns]
    with style():
        figure = new_figure(max(0.55 * len(statistics), 2) + 4, _PLACE * len(table) + 4)
        top, heat = figure.subplots(2, 1, height_ratios=[2, max(_PLACE * len(table), 0.6)])
        places = range(len(statistics))
        top.axhline(0, color=GREY, linewidth=0.8)
        top.errorbar(places, summary["mean"], summary["std"], fmt="o", color=_BLUE, capsize=3)
        top.set(xlim=(-0.5, len(statistics) - 0.5), ylim=(-1.05, 1.05), xticks=[])
        top.set_title("mean and standard deviation over networks")
        heat.set_facecolor("#CCCCCC")
        image = heat.imshow(table.to_numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        label(heat.xaxis, statistics)
        label(heat.yaxis, [plain(str(name), _NAME) for name in table.index])
        heat.grid(visible=False)
        _write(heat, image)
        figure.colorbar(image, ax=[top, heat], label="correlation with the score", shrink=0.6)
    return _saved(figure, path)


def _dendrogram(axes: Axes, linkage: npt.NDArray[np.float64], count: int) -> None:
    """Draw the tree over columns 0 to ``count - 1``."""
    axes.set(xlim=(-0.5, count - 0.5), xticks=[], ylabel="distance")
    for x, y in tree(linkage):
        axes.plot(x, y, color="black", linewidth=0.9)
    axes.set_ylim(bottom=0)
    axes.spines["bottom"].set_visible(False)


def _write(axes: Axes, image: AxesImage) -> None:
    """Write each cell's number into it, in black or white, whichever is more readable."""
    values: npt.NDArray[np.float64] = np.ma.filled(np.ma.asarray(image.get_array()), np.nan)
    for (line, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(np.asarray(value))
            bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            ink = "black" if bright else "white"
            axes.text(column, line, f"{value:.2f}", ha="center", va="center", fontsize=6, color=ink)


def _saved(figure: Figure, path: Target | None) -> Figure:
    if path is not None:
        save(figure, path)
    return figure
