"""A picture of a signature over training: a heat map of activations over steps, below a curve of their median."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_affscore.errors import InputError
from hf_affscore.plots.style import COLOURS, label, new_figure, plain, save, style
from hf_affscore.signature import Signature, call_name

_NAMED = 40  # up to this many activations, each is named
_NAMED_STEPS = 12  # the same for steps
_NAME = 56  # characters of a name


def plot_history(history: Mapping[int, Signature], path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the scores of one network at several training steps.

    The upper part shows the median over all activations, and the range from minimum to maximum, against the step.
    The lower part has one line per activation, the first at the top, and one column per measurement; cells are grey
    if a score is undefined or the activation did not run.

    Args:
        history: Signatures by step, in order.
        path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.

    Returns:
        The figure, without a window.

    Raises:
        InputError: ``history`` is empty, or ``path`` has another suffix or cannot be written.
    """
    if not history:
        raise InputError("The history is empty; expected at least one measurement. Call the tracker first.")
    steps, signatures = list(history), list(history.values())
    names, scores = _grid(signatures)
    shown = names if len(names) <= _NAMED else []
    with style():
        figure = new_figure(8, 3.4 + 0.17 * min(max(len(names), 4), _NAMED))
        top, heat = figure.subplots(2, 1, height_ratios=[1.3, 0.17 * min(max(len(names), 4), _NAMED)])
        top.set_title(f"{plain(signatures[-1].name)} over training", parse_math=False)
        _course(top, steps, signatures)
        heat.set_facecolor("#CCCCCC")
        low, high = _range(scores)
        image = heat.imshow(
            scores, cmap="cividis", vmin=low, vmax=high, aspect="auto", interpolation="nearest"
        )
        heat.grid(visible=False)
        places = range(0, len(steps), -(-len(steps) // _NAMED_STEPS))
        heat.set_xticks(places, [str(steps[place]) for place in places])
        heat.set_xlabel("training step of each measurement")
        if shown:
            label(heat.yaxis, shown)
        else:
            heat.set_ylabel("activation, in execution order")
        figure.colorbar(image, ax=heat, label="affinity score", fraction=0.05, pad=0.02)
        figure.legend(loc="outside lower left", ncols=2)
    if path is not None:
        save(figure, path)
    return figure


def _grid(signatures: list[Signature]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Names of all activations in order of first appearance, and scores ``(activations, steps)``."""
    names: dict[tuple[str, str, int], str] = {}
    columns = []
    for one in signatures:
        calls = [(row["module"], row["activation"], row["call"]) for row in one.rows]
        names |= dict(zip(calls, map(call_name, one.rows), strict=True))
        columns.append(dict(zip(calls, one.scores, strict=True)))
    scores = [[column.get(call, np.nan) for column in columns] for call in names]
    shown = [plain(name, _NAME) for name in names.values()]
    return shown, np.array(scores, dtype=np.float64).reshape(len(names), len(columns))


def _course(axes: Axes, steps: list[int], signatures: list[Signature]) -> None:
    """Median and range of the scores against the step."""
    summaries = [signature.summary() for signature in signatures]
    low, median, high = ([one[name] for one in summaries] for name in ("min", "median", "max"))
    axes.fill_between(steps, low, high, color=COLOURS[5], alpha=0.3, linewidth=0, label="minimum to maximum")
    axes.plot(steps, median, "o-", color=COLOURS[0], markersize=3.5, linewidth=1.3, label="median")
    axes.set(ylabel="affinity score", xlabel="training step")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _range(scores: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The range of the scores, widened to tenths, so that small changes are visible."""
    defined = scores[np.isfinite(scores)]
    if not defined.size:
        return 0.0, 1.0
    low, high = np.floor(defined.min() * 10) / 10, np.ceil(defined.max() * 10) / 10
    return float(min(low, 0.9)), float(max(high, low + 0.1))
