"""A picture of one signature: the affinity score of every activation, in execution order."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_affscore.evidence import evidence_of
from hf_affscore.plots.style import GREY, label, look, new_figure, plain, save, style
from hf_affscore.signature import Record, Signature, images

#: Up to this many activations, each is named on the axis; beyond that, positions are numbered.
NAMED = 40
_NAME = 56  # characters of a name on the axis
_LETTERS = 17  # characters of the caption per inch


def plot_signature(signature: Signature, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the score against execution order, one colour and marker for each kind of activation.

    A grey line joins neighbours that both have a score. An undefined score is a cross at the bottom, and a score
    that is not evidence is a hollow point. Confidence intervals are drawn as bars. The caption is the signature's
    verdict.

    Args:
        signature: The signature to draw.
        path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.

    Returns:
        The figure, without a window; ``figure.savefig`` and ``figure.axes`` work as usual.

    Raises:
        InputError: ``path`` has another suffix or cannot be written.

    Example:
        >>> row = Record(index=0, module="act", activation="ReLU", call=0, affinity_score=0.5)
        >>> figure = plot_signature(Signature(rows=(row,), skipped=(), metadata={}))
        >>> figure.axes[0].get_ylabel()
        'affinity score'
    """
    rows = signature.rows
    names = row_names(rows) if len(rows) <= NAMED else []
    height = 3.4 + 0.055 * max(map(len, names), default=10)  # inches; names stand upright below the axis
    with style():
        figure = new_figure(float(np.clip(4 + 0.12 * len(rows), 7, 14)), height)
        axes = figure.add_subplot()
        scores = signature.scores
        positions = np.arange(len(rows))
        axes.plot(positions, scores, color=GREY, linewidth=0.8, zorder=1)
        _intervals(axes, rows)
        _points(axes, rows)
        undefined = positions[~np.isfinite(scores)]
        if undefined.size:
            axes.plot(undefined, np.zeros(undefined.size), "x", color=GREY, label="undefined")
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.7, max(len(rows), 1) - 0.3), ylabel="affinity score")
        axes.set_title(f"{plain(signature.name)}\n{plain(images(signature))}", parse_math=False)
        if names:
            label(axes.xaxis, names)
        _caption(axes, signature, figure.get_figwidth())
        _legend(figure, axes)
    if path is not None:
        save(figure, path)
    return figure


def _points(axes: Axes, rows: Sequence[Record]) -> None:
    scores = np.array([row["affinity_score"] for row in rows], dtype=np.float64)
    kinds = np.array([row["activation"] for row in rows], dtype=object)
    solid = np.array([evidence_of(row) == "ok" for row in rows], dtype=bool)
    size = 5 if len(rows) <= 100 else 3.5
    for kind, (colour, marker) in look(list(dict.fromkeys(kinds))).items():
        # The leading space keeps matplotlib from hiding names that start with an underscore.
        shown = f" {plain(str(kind), 32)}"
        for chosen, fill, name in ((solid, colour, shown), (~solid, "white", f"{shown}, no evidence")):
            (at,) = np.nonzero((kinds == kind) & np.isfinite(scores) & chosen)
            if at.size:
                axes.plot(
                    at,
                    scores[at],
                    marker,
                    color=colour,
                    markerfacecolor=fill,
                    markersize=size,
                    label=name,
                )


def _intervals(axes: Axes, rows: Sequence[Record]) -> None:
    ends = [[row.get(f"affinity_score_{end}") for row in rows] for end in ("low", "high")]
    low, high = np.array(ends, dtype=np.float64)  # nan where a row has none
    (at,) = np.nonzero(np.isfinite(low) & np.isfinite(high))
    if at.size:
        axes.vlines(at, low[at], high[at], color=GREY, linewidth=2.5, alpha=0.5, label="95 % interval")


def row_names(rows: Sequence[Record]) -> list[str]:
    """The name of each activation below the axis, with the number of its call if it is not the first."""
    return [plain(f"{row['module']} #{row['call']}" if row["call"] else row["module"], _NAME) for row in rows]


def _caption(axes: Axes, signature: Signature, width: float) -> None:
    """Write the verdict below the axis, wrapped to the width of the figure."""
    lines = [part for line in signature.verdict for part in textwrap.wrap(line, int(_LETTERS * width))]
    above = ["activation, in execution order"] if len(signature.rows) > NAMED else []
    axes.set_xlabel("\n".join([*above, *lines]), fontsize=7, loc="left")
    axes.xaxis.label.set_parse_math(False)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend = figure.legend(handles, labels, loc="outside lower left", ncols=min(len(handles), 4))
        for text in legend.get_texts():
            text.set_parse_math(False)
