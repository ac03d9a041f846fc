"""Trained against random weights: how much of a signature is architecture, and how much was learned?

Random weights are drawn as each library initialises the architecture. In a deep network with untrained batch
normalisation activations then shrink from layer to layer, until the paper's absolute ridge is larger than their
variance and every score is 1 for that reason alone. So both are measured: with the paper's ridge, and with one
relative to the variance of each layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from examples.paper.common import Values, in_execution_order, main, table
from examples.paper.networks import checkpoints, own_images, signature
from hf_affscore.plots.style import COLOURS, new_figure, style

RIDGES = {"paper": 1e-6, "relative": "relative"}
SEEDS = (0, 1)
QUICK = {"seeds": (0,), "num_samples": 24}


def run(seeds: Sequence[int] = SEEDS, num_samples: int = 256, mobilenet: Path | None = None) -> Values:
    """The scores of every checkpoint with its own weights, and with weights drawn by each seed."""
    networks: Values = {}
    with checkpoints(mobilenet) as found:
        for name, checkpoint in found.items():
            images = own_images(name, num_samples)
            networks[name] = {}
            for ridge, regularization in RIDGES.items():
                options = {"regularization": regularization}
                own = signature(checkpoint, images, num_samples, **options)
                drawn = [
                    signature(checkpoint, images, num_samples, random_weights=True, seed=seed, **options)
                    for seed in seeds
                ]
                networks[name][ridge] = {
                    "trained": own.scores.tolist(),
                    "random": [each.scores.tolist() for each in drawn],
                }
    return {"seeds": list(seeds), "num_samples": num_samples, "networks": networks}


def draw(values: Values) -> Figure:
    """Signatures with trained and with random weights, one row per network and one column per ridge."""
    networks = values["networks"]
    with style():
        figure = new_figure(9, 2.2 * len(networks) + 0.5)
        grid = figure.subplots(len(networks), len(RIDGES), sharey=True, sharex="row", squeeze=False)
        for line, (name, by_ridge) in zip(grid, networks.items(), strict=True):
            for axes, (ridge, scores) in zip(line, by_ridge.items(), strict=True):
                for drawn in scores["random"]:
                    axes.plot(drawn, color=COLOURS[1], linewidth=1, label="random weights, one line per seed")
                axes.plot(scores["trained"], "-o", color=COLOURS[0], markersize=3, label="trained")
                axes.set(ylim=(0.5, 1.03), title=f"{name}, {ridge} ridge")
            line[0].set_ylabel("affinity score")
        in_execution_order(figure)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles[-2:][::-1], labels[-2:][::-1], loc="outside upper left", ncols=2)
    return figure


def markdown(values: Values) -> str:
    """Medians and ranges, and how alike trained and random signatures are."""
    lines = []
    for name, by_ridge in values["networks"].items():
        for ridge, scores in by_ridge.items():
            trained, drawn = np.array(scores["trained"]), np.array(scores["random"])
            lines.append(
                [
                    f"{name}, {ridge} ridge",
                    _summary(trained),
                    _summary(drawn),
                    _ranged([np.corrcoef(trained, each)[0, 1] for each in drawn]),
                ]
            )
    return table(["network", "trained: median (range)", "random", "correlation of the two"], lines)


def _summary(scores: npt.NDArray[np.float64]) -> str:
    return f"{np.median(scores):.3f} ({scores.min():.3f} to {scores.max():.3f})"


def _ranged(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main("trained_or_random", __doc__)
