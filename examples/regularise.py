"""What happens to a network whose activations are pushed towards being linear, or away from it?

A small network learns scikit-learn's handwritten digits with the loss

    cross entropy + strength * (1 - mean affinity score of its two ReLUs)

where the score is :func:`hf_affscore.affinity_loss`. A positive strength asks for more linear activations, a
negative one for less. In the repository, ``python -m examples.regularise`` trains it for several strengths and
seeds, and writes ``score_and_accuracy.png`` and ``values.json`` into ``--output``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import hf_affscore as ha
from examples.command import perform
from hf_affscore.plots.style import COLOURS, GREY, new_figure, save, style

HELD_OUT = 512
STRENGTHS = (-10.0, -3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0, 10.0)
SEEDS = (0, 1, 2)
EPOCHS = 60
BATCH = 257  # five batches of the 1,285 digits


class Network(nn.Module):
    """Two hidden layers of ReLUs, 32 wide; says what went into and came out of each."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, width), nn.Linear(width, width)])
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits, and the pre- and post-activations of both ReLUs."""
        pairs = []
        for layer in self.layers:
            pre = layer(x)
            x = functional.relu(pre)
            pairs.append((pre, x))
        return self.head(x), pairs


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits as 64 pixels between 0 and 1, and their labels."""
    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def train(strength: float, seed: int, *, epochs: int = EPOCHS) -> Network:
    """A network trained on the first 1,285 digits with this much regularisation."""
    pixels, labels = (values[:-HELD_OUT] for values in digits())
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005, weight_decay=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(pixels)).split(BATCH):
            logits, pairs = network(pixels[batch])
            loss = functional.cross_entropy(logits, labels[batch])
            if strength:
                scores = torch.stack([ha.affinity_loss(pre, post) for pre, post in pairs])
                loss = loss + strength * (1 - scores.mean())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@torch.no_grad()
def measure(network: Network) -> dict[str, float]:
    """Accuracy and exact affinity scores on the 512 digits that were held out."""
    pixels, labels = (values[-HELD_OUT:] for values in digits())
    logits, pairs = network(pixels)
    first, second = (ha.affinity_score(pre, post) for pre, post in pairs)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    return {"accuracy": accuracy, "first_score": first, "second_score": second}


def run(
    strengths: Sequence[float] = STRENGTHS, seeds: Sequence[int] = SEEDS, epochs: int = EPOCHS
) -> dict[str, list[dict[str, float]]]:
    """What was measured for every strength: one record per seed."""
    return {
        f"{strength:g}": [measure(train(strength, seed, epochs=epochs)) for seed in seeds]
        for strength in strengths
    }


def draw(values: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Scores and accuracy against the strength; every seed a point, their mean a line."""
    places = np.arange(len(values))
    lines = (("first_score", "first ReLU", COLOURS[0]), ("second_score", "second ReLU", COLOURS[1]))
    with style():
        figure = new_figure(8, 5)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
        for axes, drawn in ((top, lines), (bottom, (("accuracy", "accuracy", COLOURS[2]),))):
            for name, text, colour in drawn:
                points = np.array([[record[name] for record in records] for records in values.values()])
                axes.plot(places, points.mean(axis=1), color=colour, label=text)
                axes.plot(places, points, "o", color=colour, markersize=3, alpha=0.6)
            axes.axvline(list(values).index("0"), color=GREY, linewidth=0.8, linestyle="--")
        top.set(ylabel="affinity score", ylim=(0, 1.02))
        top.legend(loc="upper left")
        top.set_title("A network pushed towards less (left) or more (right) linear activations")
        bottom.set(ylabel="accuracy, held-out digits", xlabel="strength of the regularisation")
        bottom.set_xticks(places, list(values))
    save(figure, path)


def main() -> None:
    values = perform(
        "Train a small network with the affinity score in its loss.",
        folder="regularise",
        picture="score_and_accuracy.png",
        run=lambda output: run(),
        draw=draw,
    )
    for strength, records in values.items():
        means = {name: np.mean([record[name] for record in records]) for name in records[0]}
        print(f"strength {strength:>4}: " + "  ".join(f"{name} {mean:.3f}" for name, mean in means.items()))


if __name__ == "__main__":
    main()
