"""The score against the range of the inputs, for every elementwise activation that the package knows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import hf_affscore as ha
from examples.paper.common import Values, main, table
from hf_affscore.capture.activations import MODULES
from hf_affscore.plots.style import COLOURS, new_figure, style

HALF_WIDTH = 2
CENTRES = np.linspace(-6, 6, 49)
#: What has no defaults of its own; 10 is where transformers clips as ``gelu_10``.
ARGUMENTS = {"Threshold": (0.5, 0.0), "ClippedGELUActivation": (-10, 10)}
QUICK = {"centres": np.linspace(-6, 6, 13), "num_samples": 200}
COLUMNS = 5


def activations() -> Iterator[tuple[str, nn.Module]]:
    """Every activation of the table with its default parameters, under the name of its class."""
    for home, names in MODULES["activation"].items():
        for name in names:
            yield name, getattr(importlib.import_module(home), name)(*ARGUMENTS.get(name, ())).double().eval()


def distinct() -> list[tuple[list[str], nn.Module]]:
    """The same with one entry per function: SiLU has five classes, and one curve."""
    grid = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    found: list[tuple[list[str], nn.Module, Tensor]] = []
    for name, activation in activations():
        values = activation(grid)
        for names, _, known in found:
            if torch.allclose(values, known, rtol=0, atol=1e-6):
                names.append(name)
                break
        else:
            found.append(([name], activation, values))
    return [(list(dict.fromkeys(names)), activation) for names, activation, _ in found]


@torch.inference_mode()
def run(centres: npt.NDArray[np.float64] = CENTRES, num_samples: int = 1000) -> Values:
    """Scores on evenly spaced points around every centre, with the paper's ridge and with a relative one."""
    ranges = [
        torch.linspace(c - HALF_WIDTH, c + HALF_WIDTH, num_samples, dtype=torch.float64) for c in centres
    ]
    scores = {}
    for names, activation in distinct():
        outputs = [activation(x) for x in ranges]
        scores[names[0]] = {
            "same_function": names[1:],
            "paper": [ha.affinity_score(x, y) for x, y in zip(ranges, outputs, strict=True)],
            "relative": [
                ha.affinity_score(x, y, regularization="relative")
                for x, y in zip(ranges, outputs, strict=True)
            ],
        }
    return {"half_width": HALF_WIDTH, "num_samples": num_samples, "centres": list(centres), "scores": scores}


def draw(values: Values) -> Figure:
    """One small picture per function."""
    scores = values["scores"]
    rows = -(-len(scores) // COLUMNS)
    with style():
        figure = new_figure(9, 1.35 * rows + 0.7)
        grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(scores) :]:
            axes.set_axis_off()
        for axes, (name, curves) in zip(grid.flat, scores.items(), strict=False):
            axes.plot(values["centres"], curves["relative"], "--", color=COLOURS[1], linewidth=1)
            axes.plot(values["centres"], curves["paper"], color=COLOURS[0], linewidth=1.4)
            others = len(curves["same_function"])
            axes.set_title(name + (f" (+{others})" if others else ""), fontsize=8)
            axes.set(ylim=(-0.03, 1.06), yticks=[0, 0.5, 1], xticks=[-6, -3, 0, 3, 6])
        figure.supxlabel(f"m, inputs evenly on m ± {values['half_width']}", fontsize=9)
        figure.supylabel("affinity score", fontsize=9)
        handles = list(reversed(grid[0, 0].lines))
        labels = ["the paper's ridge, 1e-6", "ridge relative to the variance"]
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def markdown(values: Values) -> str:
    """Where each function is furthest from an affine map, and how far."""
    lines = []
    for name, curves in values["scores"].items():
        paper, relative = (np.array(curves[ridge]) for ridge in ("paper", "relative"))
        at_zero = float(paper[len(paper) // 2])
        place = f"{values['centres'][int(relative.argmin())]:.2f}"
        same = ", ".join(curves["same_function"])
        lines.append([name, at_zero, float(paper.min()), float(relative.min()), place, same])
    lines.sort(key=lambda line: line[3])
    header = ["activation", "at m = 0", "lowest", "lowest, relative ridge", "there m =", "the same function"]
    return table(header, lines)


if __name__ == "__main__":
    main("input_range", __doc__)
