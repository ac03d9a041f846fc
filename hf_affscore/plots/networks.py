"""One small picture per network, all on the same axes: scores by depth, and their distributions.

Two networks are drawn over one another instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_affscore.comparison.statistics import FEW, evidence, folded_density
from hf_affscore.evidence import evidence_of
from hf_affscore.plots.families import Look, family_key, looks, making_note, pooling_note
from hf_affscore.plots.style import COLOURS, GREY, MARKERS, beginning, new_figure, save, style, title
from hf_affscore.plots.text import fitted, fonts
from hf_affscore.reference import depths
from hf_affscore.signature import Signature
from hf_affscore.summary import column

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

Target = str | os.PathLike[str]
Array = npt.NDArray[np.float64]

_BINS = 20
_FEW_NETWORKS = 12  # up to this many, panels are larger
_PALE = "#DDDDDD"
_BY_DEPTH = "Affinity score of each activation by depth, from 0, the first activation, to 1, the last"


def plot_signatures(comparison: Comparison, path: Target | None = None) -> Figure:
    """The scores of each network by depth: two over one another, more side by side.

    Depth is 0 at the first activation of a network and 1 at the last. Hollow points are no evidence. In a small
    picture, the pale points behind are those of all other networks.
    """
    networks = comparison.signatures
    begin = beginning(np.concatenate([signature.scores for signature in networks]))
    with style():
        figure = _over_one_another(comparison) if len(networks) == 2 else _side_by_side(comparison)
        for axes in figure.axes:
            axes.set(xlim=(-0.03, 1.03), ylim=(begin - 0.04 * (1 - begin), 1 + 0.04 * (1 - begin)))
        marks = ["Hollow: no evidence."] if _doubtful(networks) else []
        marks += ["Pale grey dots: the scores of all other networks."] if len(networks) > 2 else []
        title(figure, _BY_DEPTH, _note(comparison, begin, *marks))
    return _saved(figure, path)


def plot_distributions(comparison: Comparison, path: Target | None = None) -> Figure:
    """How many scores of each network lie where, in leaf order, with their density (paper, section 5).

    All have one range. The outlined part of a bar is no evidence. The density is of the scores that are evidence,
    and left out where there are fewer than eight.
    """
    begin = beginning(np.concatenate([signature.scores for signature in comparison.signatures]))
    with style():
        figure, panels = _panels(comparison, "affinity score")
        for network, axes in panels:
            _distribution(axes, comparison.signatures[network], looks(comparison)[network].colour, begin)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
        figure.supylabel("number of scores", fontsize=9)
        marks = ["Outlined: no evidence."] if _doubtful(comparison.signatures) else []
        if any(len(evidence(signature)) >= FEW for signature in comparison.signatures):
            marks.append(
                f"Curve: kernel density of the scores that are evidence, where there are {FEW} or more."
            )
        title(figure, "Distribution of the scores in each network", _note(comparison, begin, *marks))
        family_key(figure, comparison)
    return _saved(figure, path)


def _over_one_another(comparison: Comparison) -> Figure:
    figure = new_figure(8, 4.6)
    axes = figure.add_subplot()
    for network, (colour, marker) in enumerate(zip(COLOURS[:2], MARKERS[:2], strict=True)):
        signature = comparison.signatures[network]
        name = f" {fitted(comparison.names[network], 5, 9)} ({len(signature.rows)} activations)"
        _scores(axes, signature, Look(name, colour, marker), size=5.5)
    axes.set(xlabel="depth", ylabel="affinity score (1 = affine)")
    legend = figure.legend(loc="outside lower left", prop={"size": 9, "family": fonts(comparison.names)})
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _side_by_side(comparison: Comparison) -> Figure:
    figure, panels = _panels(comparison, "depth")
    points = [_points(signature) for signature in comparison.signatures]
    for network, axes in panels:
        behind = np.concatenate(
            [one for other, one in enumerate(points) if other != network] or [np.empty((0, 2))]
        )
        axes.plot(*behind.T, ".", color=_PALE, markersize=2.5, zorder=1)
        _scores(axes, comparison.signatures[network], looks(comparison)[network], size=3.5)
    figure.supylabel("affinity score (1 = affine)", fontsize=9)
    family_key(figure, comparison)
    return figure


def _panels(comparison: Comparison, below: str) -> tuple[Figure, list[tuple[int, Axes]]]:
    """A figure with one panel for each network in leaf order, titled with name and number of scores.

    ``below`` is written below the lowest panel of every column.
    """
    order = comparison.leaf_order
    columns = min(len(order), 3 if len(order) <= _FEW_NETWORKS else 5)
    lines = -(-len(order) // columns)
    width, height = (3.0, 1.9) if len(order) <= _FEW_NETWORKS else (2.2, 1.45)
    figure = new_figure(max(width * columns, 5) + 0.4, height * lines + 1.1)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(order) :]:
        axes.remove()
    panels = list(zip(order, grid.flat, strict=False))
    for network, axes in panels:
        count = len(comparison.signatures[network].rows)
        name = f"{fitted(comparison.names[network], width - 1, 8)} ({count})"
        axes.set_title(name, parse_math=False, fontsize=8, fontfamily=fonts([name]))
        axes.tick_params(labelsize=7, labelbottom=network in order[-columns:])
        if network in order[-columns:]:
            axes.set_xlabel(below, fontsize=8)
    return figure, panels


def _scores(axes: Axes, signature: Signature, look: Look, size: float) -> None:
    solid = np.array([evidence_of(row) == "ok" for row in signature.rows], dtype=bool)
    points = _points(signature)
    low, high = (column(signature.rows, f"affinity_score_{end}") for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(points[known, 0], low[known], high[known], color=GREY, alpha=0.5, linewidth=1.5, zorder=1.5)
    axes.plot(*points[solid].T, look.marker, color=look.colour, markersize=size, label=look.family)
    axes.plot(*points[~solid].T, look.marker, color=look.colour, markerfacecolor="white", markersize=size)


def _points(signature: Signature) -> Array:
    """Depth and score of every row, shape ``(rows, 2)``."""
    return np.column_stack([depths(len(signature.rows)), signature.scores])


def _distribution(axes: Axes, signature: Signature, colour: str, begin: float) -> None:
    solid, scores = evidence(signature), signature.scores
    words = [evidence_of(row) for row in signature.rows]
    hollow = scores[[word not in ("ok", "undefined") for word in words]]
    edges = np.linspace(begin, 1, _BINS + 1)
    bars, _ = np.histogram(np.clip(solid, begin, 1), edges)
    more, _ = np.histogram(np.clip(hollow, begin, 1), edges)
    width = edges[1] - edges[0]
    axes.bar(
        edges[:-1], bars, width, align="edge", color=colour, alpha=0.55, edgecolor="white", linewidth=0.5
    )
    axes.bar(
        edges[:-1], more, width, bottom=bars, align="edge", facecolor="white", edgecolor=colour, linewidth=0.7
    )
    if len(solid) >= FEW:
        grid = np.linspace(begin, 1, 400)
        axes.plot(grid, folded_density(solid, grid) * len(solid) * width, color=colour, linewidth=1.3)
    axes.set_ylim(0, 1.1 * float((bars + more).max()))
    axes.set_xlim(begin - 0.02 * (1 - begin), 1 + 0.02 * (1 - begin))


def _doubtful(networks: Iterable[Signature]) -> bool:
    """Whether any score that is drawn is no evidence."""
    return any(
        evidence_of(row) not in ("ok", "undefined") for signature in networks for row in signature.rows
    )


def _note(comparison: Comparison, begin: float, *marks: str) -> str:
    start = f"The axis of scores begins at {begin:g}." if begin else ""
    return " ".join(filter(None, [making_note(comparison), *marks, start, pooling_note(comparison)]))


def _saved(figure: Figure, path: Target | None) -> Figure:
    if path is not None:
        save(figure, path)
    return figure
