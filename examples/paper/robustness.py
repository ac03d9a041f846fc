"""How far a signature depends on the number of samples, on which samples, and on the pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from matplotlib.figure import Figure

import hf_affscore as ha
from examples.paper.common import Values, in_execution_order, main, table
from examples.paper.networks import DIGITS_RESNET, checkpoints, own_images, signature
from hf_affscore.options import Pooling
from hf_affscore.plots.style import COLOURS, new_figure, style

SIZES = (32, 64, 128, 256, 512)
SEEDS = (0, 1, 2, 3, 4)
POOLINGS: tuple[str, ...] = tuple(pooling for pooling in get_args(Pooling) if pooling != "tokens")
VARIED = {"sizes": "number of images", "seeds": "draw of the images", "poolings": "pooling"}
QUICK = {"sizes": (16, 32), "seeds": (0, 1), "num_samples": 16}


def run(sizes: Sequence[int] = SIZES, seeds: Sequence[int] = SEEDS, num_samples: int = 256) -> Values:
    """Vary one thing at a time for each network; seeds and poolings with ``num_samples`` images."""
    networks = {}
    with checkpoints() as found:
        for name, checkpoint in found.items():
            images = own_images(name, max(*sizes, num_samples))
            networks[name] = {
                "sizes": {size: _scores(signature(checkpoint, images, size)) for size in sizes},
                "seeds": {
                    seed: _scores(signature(checkpoint, own_images(name, num_samples, seed), num_samples))
                    for seed in seeds
                },
                "poolings": {
                    pooling: _scores(signature(checkpoint, images, num_samples, pooling=pooling))
                    for pooling in _poolings(name)
                },
            }
    return {"num_samples": num_samples, "networks": networks}


def _poolings(name: str) -> list[str]:
    """All that can score every activation: EfficientNet's are too wide to be kept unpooled."""
    return [pooling for pooling in POOLINGS if name == DIGITS_RESNET or pooling != "none"]


def _scores(signature: ha.Signature) -> list[float]:
    scores: list[float] = signature.scores.tolist()
    return scores


def draw(values: Values) -> Figure:
    """One row per network, one column for what is varied."""
    networks = values["networks"]
    with style():
        figure = new_figure(10, 2.7 * len(networks) + 0.8)
        grid = figure.subplots(len(networks), len(VARIED), sharey=True, sharex="row", squeeze=False)
        for line, (name, by_what) in zip(grid, networks.items(), strict=True):
            for axes, (what, title) in zip(line, VARIED.items(), strict=True):
                for colour, (variant, scores) in zip(COLOURS, by_what[what].items(), strict=False):
                    shown = f"seed {variant}" if what == "seeds" else variant
                    curve = np.array(scores, dtype=np.float64)
                    width = 3 if variant == "paper" else 1  # seen under channels, its equal in a CNN
                    axes.plot(curve, "-o", color=colour, linewidth=width, markersize=2.5, label=shown)
                axes.set(ylim=(0.38, 1.02), title=f"{name}: {title}")
            line[0].set_ylabel("affinity score")
        for axes in grid[0]:  # the first network has all variants
            axes.legend(fontsize=7, ncols=3, loc="lower right")
        in_execution_order(figure)
    return figure


def markdown(values: Values) -> str:
    """Each variant against the largest sample, the first draw, or the paper's pooling."""
    lines = []
    for name, by_what in values["networks"].items():
        for what, title in VARIED.items():
            scores = {variant: np.array(each) for variant, each in by_what[what].items()}
            reference = list(scores.values())[-1 if what == "sizes" else 0]
            for variant, each in scores.items():
                difference = np.abs(each - reference)
                correlation = float(np.corrcoef(each, reference)[0, 1])
                figures = [np.median(each), difference.mean(), difference.max()]
                lines.append([f"{name}, {title}: {variant}", *map(float, figures), correlation])
    header = ["network, what is varied", "median", "mean difference", "largest", "correlation"]
    return table(header, lines)


if __name__ == "__main__":
    main("robustness", __doc__)
