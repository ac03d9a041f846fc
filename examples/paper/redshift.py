"""Neural redshift: what random networks paint on the unit square, and how non-linear their activations are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import hf_affscore as ha
from examples.paper.common import Values, main, table
from hf_affscore.plots.style import new_figure, style

SIDE = 32
WIDTH = 64
DEPTH = 3  # hidden layers
ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "tanh": nn.Tanh}
SCALES = (1, 6)
SEEDS = tuple(range(10))
SHOWN = 5  # seeds in the picture
QUICK = {"seeds": (0, 1, 2)}


def grid() -> Tensor:
    """The 32 x 32 points of [-1, 1]^2, each as an image of one pixel and two channels: ``(1024, 2, 1, 1)``."""
    axis = torch.linspace(-1, 1, SIDE)
    return torch.cartesian_prod(axis, axis).view(-1, 2, 1, 1)


def perceptron(activation: str, scale: int, seed: int) -> nn.Module:
    """A random MLP from a point to one number, weights and biases from U(-scale * s, scale * s).

    ``s`` is one over the square root of the layer's inputs, as torch draws them by default. The seed alone
    decides the draw: networks that differ in scale have the same weights, one scaled.
    """
    torch.manual_seed(seed)
    widths = [2, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    network = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= scale
    return network.eval()


def painted(network: nn.Module) -> npt.NDArray[np.float32]:
    """The network's output as an image of mean 0 and deviation 1, shape ``(32, 32)``."""
    with torch.inference_mode():
        image = network(grid()).view(SIDE, SIDE).numpy()
    return (image - image.mean()) / image.std()


def roughness(image: npt.NDArray[np.float32]) -> float:
    """Mean absolute difference of neighbouring pixels, in standard deviations of the image."""
    return float(np.mean([np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)]))


def run(seeds: Sequence[int] = SEEDS) -> Values:
    """Mean score and roughness of every random network."""
    networks = []
    for activation in ACTIVATIONS:
        for scale in SCALES:
            scores, rough = [], []
            for seed in seeds:
                network = perceptron(activation, scale, seed)
                signature = ha.analyze(
                    network,
                    list(grid()),
                    num_samples=SIDE**2,
                    shuffle=False,
                    shrinkage=False,
                    batch_size=SIDE**2,
                )
                scores.append(float(signature.scores.mean()))
                rough.append(roughness(painted(network)))
            networks.append(
                {"activation": activation, "scale": scale, "mean_score": scores, "roughness": rough}
            )
    return {"seeds": list(seeds), "side": SIDE, "width": WIDTH, "depth": DEPTH, "networks": networks}


def draw(values: Values) -> Figure:
    """What the first networks of each kind paint; the networks are made again, pictures are no values."""
    seeds = values["seeds"][:SHOWN]
    with style():
        figure = new_figure(1.35 * len(seeds) + 1.2, 6.4)
        places = figure.subplots(len(values["networks"]), len(seeds), squeeze=False)
        for line, kind in zip(places, values["networks"], strict=True):
            for axes, seed, score in zip(line, seeds, kind["mean_score"], strict=False):
                image = painted(perceptron(kind["activation"], kind["scale"], seed))
                axes.imshow(image, cmap="cividis", extent=(-1, 1, -1, 1))
                axes.set_title(f"mean {score:.2f}", fontsize=8)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                axes.grid(visible=False)
            line[0].set_ylabel(f"{kind['activation']}, U(±{_times(kind['scale'])}s)")
        figure.supxlabel(
            "one column per seed; above each image the mean score of its activations", fontsize=8
        )
    return figure


def markdown(values: Values) -> str:
    """Mean and deviation over the seeds, per kind of network."""
    lines = []
    for kind in values["networks"]:
        score, rough = np.array(kind["mean_score"]), np.array(kind["roughness"])
        lines.append(
            [
                f"{kind['activation']}, weights U(±{_times(kind['scale'])}s)",
                f"{score.mean():.3f} ± {score.std():.3f}",
                f"{rough.mean():.3f} ± {rough.std():.3f}",
            ]
        )
    return table(["networks", "mean score", "roughness of the image"], lines)


def _times(scale: int) -> str:
    return "" if scale == 1 else str(scale)


if __name__ == "__main__":
    main("redshift", __doc__)
