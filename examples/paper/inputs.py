"""The same network on different inputs: digits, photographs, noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from examples.paper.common import Values, in_execution_order, main, table
from examples.paper.networks import checkpoints, digits, photographs, signature
from hf_affscore.plots.style import COLOURS, MARKERS, new_figure, style

INPUTS = ("digits", "photographs", "noise")
QUICK = {"num_samples": 24}


def run(num_samples: int = 256, mobilenet: Path | None = None) -> Values:
    """The scores of every checkpoint on every kind of input, each preprocessed as the checkpoint asks."""
    images = {"digits": digits(num_samples), "photographs": photographs(num_samples), "noise": "noise"}
    with checkpoints(mobilenet) as found:
        networks = {
            name: {kind: signature(checkpoint, images[kind], num_samples).scores.tolist() for kind in INPUTS}
            for name, checkpoint in found.items()
        }
    return {"num_samples": num_samples, "seed": 0, "networks": networks}


def draw(values: Values) -> Figure:
    """One row per network, one line per kind of input."""
    networks = values["networks"]
    with style():
        figure = new_figure(7.5, 2.3 * len(networks) + 0.5)
        for axes, (name, scores) in zip(
            figure.subplots(len(networks), 1, sharey=True, squeeze=False)[:, 0], networks.items(), strict=True
        ):
            for kind, colour, marker in zip(INPUTS, COLOURS, MARKERS, strict=False):
                axes.plot(scores[kind], marker=marker, color=colour, markersize=4, linewidth=1, label=kind)
            axes.set(ylim=(0.3, 1.03), ylabel="affinity score", title=name)
        in_execution_order(figure)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(INPUTS)
        )
    return figure


def markdown(values: Values) -> str:
    """Medians and ranges, and the correlation with the signature on the inputs the network was made for."""
    lines = []
    for name, scores in values["networks"].items():
        home = "digits" if name.startswith("digits") else "photographs"
        for kind in INPUTS:
            these = np.array(scores[kind])
            correlation = float(np.corrcoef(these, scores[home])[0, 1])
            lines.append(
                [f"{name} on {kind}", *map(float, (np.median(these), these.min(), these.max())), correlation]
            )
    return table(["network", "median", "minimum", "maximum", "correlation with its own inputs"], lines)


if __name__ == "__main__":
    main("inputs", __doc__)
