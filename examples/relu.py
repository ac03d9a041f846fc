"""Draws what the score compares: ReLU and its affine map on three ranges of inputs.

Usage: python -m examples.relu [docs/images/relu.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import hf_affscore as ha
from hf_affscore.plots.style import COLOURS, GREY, new_figure, save, style

Array = npt.NDArray[np.float64]

PICTURE = Path("docs/images/relu.png")

#: The mean of the inputs (their standard deviation is 1), and what ReLU does to them.
RANGES = {2.5: "nearly all pass", 0.0: "half are cut off", -1.5: "nearly all are cut off"}


def affine_map(x: Array, y: Array) -> Array:
    """T(x): the affine map of x that has the mean and variance of y."""
    return np.asarray((x - x.mean()) * y.std() / x.std() + y.mean())


def distance(one: Array, other: Array) -> float:
    """The 2-Wasserstein distance of two sets of numbers: of their sorted values, root mean square."""
    return float(np.sqrt(np.mean((np.sort(one) - np.sort(other)) ** 2)))


def draw(path: Path) -> dict[float, float]:
    """Draw the picture; the score of each range."""
    scores = {}
    relu, affine = COLOURS[1], COLOURS[0]
    with style():
        figure = new_figure(9, 5)
        grid = figure.subplots(2, len(RANGES))
        rank = np.linspace(0, 100, 2000)
        for (top, bottom), (middle, where) in zip(grid.T, RANGES.items(), strict=True):
            x = np.random.default_rng(0).normal(middle, 1, len(rank))
            y = np.maximum(x, 0)
            mapped = affine_map(x, y)
            scores[middle] = ha.affinity_score(x, y)
            ends = np.array([x.min(), x.max()])
            counts, edges = np.histogram(x, 40)
            top.stairs(counts / counts.max(), edges, color=GREY, alpha=0.35, fill=True, label="inputs")
            corner = np.sort([ends[0], max(0.0, ends[0]), ends[1]])
            top.plot(corner, np.maximum(corner, 0), color=relu, lw=2.5, label="ReLU")
            top.plot(
                ends,
                np.interp(ends, *np.sort([x, mapped])),
                color=affine,
                lw=1.5,
                ls="--",
                label="affine map T",
            )
            top.set_title(f"score {scores[middle]:.2f}: {where}")
            top.set_xlabel("input x")
            sizes = np.sort(y), np.sort(mapped)
            bottom.fill_between(rank, *sizes, color=GREY, alpha=0.35, label="distance")
            bottom.plot(rank, sizes[0], color=relu, lw=2.5)
            bottom.plot(rank, sizes[1], color=affine, lw=1.5, ls="--")
            bottom.set_title(
                f"1 - {distance(mapped, y):.2f} / {np.sqrt(2) * y.std(ddof=1):.2f} = {scores[middle]:.2f}"
            )
            bottom.set_xlabel("images, sorted by output (%)")
        grid[0, 0].set_ylabel("output")
        grid[1, 0].set_ylabel("output")
        grid[0, 0].legend(loc="upper left")
        grid[1, 0].legend(loc="upper left")
        save(figure, path)
    return scores


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
