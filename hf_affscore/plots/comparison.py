"""Pictures of a comparison: scores, distributions, timeline, distances and correlations.

Every picture has a title and grows with the number of networks, so that each network has its own place and a
readable name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_affscore.comparison.distances import tree
from hf_affscore.plots.correlations import plot_correlations, write_numbers
from hf_affscore.plots.families import Look, family_key, looks, pooling_note
from hf_affscore.plots.networks import plot_distributions, plot_signatures
from hf_affscore.plots.style import GREY, beginning, label, new_figure, plain, save, style, title

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

Target = str | os.PathLike[str]
_NAME = 40  # characters of a network's name
_PLACE = 0.21  # inches a network takes along an axis
_FEW = 12  # up to this many networks, cells are large and carry their number


def plot_comparison(comparison: Comparison, folder: Target) -> list[Path]:
    """Save every picture of a comparison into ``folder``, as PNG and as PDF, and return the files.

    Correlations are left out if no signature has a companion statistic.
    """
    pictures = {
        "signatures": plot_signatures,
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


def plot_timeline(comparison: Comparison, path: Target | None = None) -> Figure:
    """Median, minimum and maximum of each network's scores, and its accuracy beside them (paper, section 5).

    Networks are in the order of their ``year``, the oldest at the top, if it is known for all of them, otherwise in
    the given order. The accuracies are left out if no network has one.
    """
    table = comparison.networks
    look_of = dict(zip(table.index, looks(comparison), strict=True))
    by_year = "year" in table and bool(table["year"].notna().all())
    if by_year:
        table = table.sort_values("year", kind="stable")
    names = [plain(str(name), _NAME) for name in table.index]
    if "year" in table:
        known = table["year"].notna()
        names = [f"{n} ({y:g})" if k else n for n, y, k in zip(names, table["year"], known, strict=True)]
    places = np.arange(len(table))
    found = [look_of[name] for name in table.index]
    panels = ["scores", "accuracy"] if table["accuracy"].notna().any() else ["scores"]
    begin = beginning(table["min"].to_numpy())
    with style():
        figure = new_figure(8, _PLACE * len(table) + 1.6)
        ratios = [3, 1][: len(panels)]
        left, *right = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=ratios)[0]
        left.hlines(places, table["min"], table["max"], color=GREY, linewidth=1.5)
        for axes, name in zip((left, *right), ("median", "accuracy"), strict=False):
            for place, value, look in zip(places, table[name], found, strict=True):
                axes.plot(value, place, look.marker, color=look.colour, markersize=5.5)
            axes.grid(visible=True, axis="both")
        left.set(xlabel="affinity score: median, minimum to maximum", xlim=(begin - 0.02 * (1 - begin), 1.01))
        left.set_ylim(len(table) - 0.4, -0.6)
        label(left.yaxis, names)
        for axes in right:
            axes.set_xlabel("accuracy")
            axes.margins(x=0.1)
        order = "by year" if by_year else "in the given order"
        what = "Scores and accuracy of each network" if right else "Scores of each network"
        title(figure, f"{what}, {order}", pooling_note(comparison))
        family_key(figure, comparison)
    return _saved(figure, path)


def plot_distances(comparison: Comparison, path: Target | None = None) -> Figure:
    """The distance matrix in leaf order, under the dendrogram that orders it (paper, section 5).

    A mark under each leaf of the dendrogram, and beside each name, tells the family.
    """
    order = comparison.leaf_order
    names = [plain(comparison.names[i], _NAME) for i in order]
    side = max(_PLACE * len(order), 2.4)
    with style():
        figure = new_figure(side + 4.2, side + 3.4)
        top, heat = figure.subplots(2, 1, height_ratios=[1.2, side])
        image = heat.imshow(comparison.distances[np.ix_(order, order)], cmap="cividis_r", aspect="auto")
        label(heat.yaxis, names)
        heat.set(xticks=[], xlabel="the same networks in the same order")
        heat.grid(visible=False)
        if len(order) <= _FEW:
            write_numbers(heat, image)
        _dendrogram(top, comparison.linkage, len(order))
        _leaves(top, heat, [looks(comparison)[network] for network in order])
        figure.colorbar(image, ax=[top, heat], label="warping distance", shrink=0.6)
        note = " ".join(filter(None, [pooling_note(comparison), *comparison.distance_notes]))
        title(figure, "How far the signatures are from one another", note)
        family_key(figure, comparison)
    return _saved(figure, path)


def _dendrogram(axes: Axes, linkage: npt.NDArray[np.float64], count: int) -> None:
    """Draw the tree over columns 0 to ``count - 1``."""
    axes.set(xlim=(-0.5, count - 0.5), xticks=[], ylabel="distance")
    for x, y in tree(linkage):
        axes.plot(x, y, color="black", linewidth=0.9)
    axes.set_ylim(bottom=0)
    axes.spines["bottom"].set_visible(False)


def _leaves(top: Axes, heat: Axes, found: Sequence[Look]) -> None:
    """Mark the family of each network under its leaf and beside its line; nothing if there is only one family."""
    if len(set(found)) < 2:
        return
    for place, look in enumerate(found):
        mark: Any = {"marker": look.marker, "color": look.colour, "clip_on": False, "markersize": 5}
        top.plot(place, 0, transform=top.get_xaxis_transform(), **mark)
        heat.plot(1.012, place, transform=heat.get_yaxis_transform(), **mark)


def _saved(figure: Figure, path: Target | None) -> Figure:
    if path is not None:
        save(figure, path)
    return figure
