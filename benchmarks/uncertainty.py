"""Does the 95 % interval of a score cover its limit? Writes ``uncertainty.md`` and ``bias.png`` beside it.

    python benchmarks/uncertainty.py [--trials 200] [--activations activations.npz]

Synthetic layers with independent normal features and an elementwise function have a limit that quadrature in
one dimension gives: the map is diagonal, and W2^2 is the sum over the features. Real activations (see
``activations.py``) have none that is known; for them the picture shows how the score falls with n.
"""

from __future__ import annotations

import argparse
import datetime
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import numpy as np
from scipy.special import ndtr, ndtri

from hf_affscore.score import affinity_score, score_layer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * ndtr(x),
}
SHAPES = [(n, 1) for n in (64, 256, 1024)] + [(n, 4) for n in (64, 256, 1024)]
SHAPES += [(n, 16) for n in (128, 512)] + [(n, 64) for n in (512, 1024)]
REAL = ("features.2.conv.0.2", "features.2.conv.1.2", "features.8.conv.1.2", "features.18.2")


def features(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of d independent normal features, different for each."""
    return np.linspace(-1, 1, d + 2)[1:-1], np.linspace(0.5, 2, d + 2)[1:-1]


def limit(name: str, d: int, points: int = 400_000) -> float:
    """The score of the distribution: midpoint rule over the quantiles of every feature."""
    normal = ndtri((np.arange(points) + 0.5) / points)
    cost = variance = 0.0
    for mean, deviation in zip(*features(d), strict=True):
        y = FUNCTIONS[name](mean + deviation * normal)
        cost += float(((normal * y.std() + y.mean() - np.sort(y)) ** 2).mean())
        variance += float(y.var())
    return 1 - math.sqrt(cost / (2 * variance))


def trial(name: str, n: int, d: int, seed: int) -> tuple[float, float, float, float]:
    mean, deviation = features(d)
    x = mean + deviation * np.random.default_rng([seed, n, d]).normal(size=(n, d))
    record = score_layer(x, FUNCTIONS[name](x), shrinkage=False, regularization=1e-6)
    return tuple(record[f"affinity_score{part}"] for part in ("", "_stderr", "_low", "_high"))


def coverage(trials: int) -> list[str]:
    """One line of the table for every function and shape."""
    lines = [
        "| function | n | d | limit | mean score | spread | mean stderr | with interval | covered |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in FUNCTIONS:
        for n, d in SHAPES:
            target = limit(name, d)
            with ThreadPoolExecutor(2) as pool:
                runs = np.array(list(pool.map(lambda seed: trial(name, n, d, seed), range(trials))))  # noqa: B023
            score, error, low, high = runs.T
            given = np.isfinite(low)
            covered = (
                f"{np.mean((low <= target) & (target <= high), where=given):.3f}" if given.any() else "-"
            )
            lines.append(
                f"| {name} | {n} | {d} | {target:.4f} | {score.mean():.4f} | {score.std():.4f} "
                f"| {error.mean():.4f} | {given.mean():.2f} | {covered} |"
            )
            print(lines[-1], flush=True)
    return lines


def bias_plot(activations: Path) -> list[str]:
    """How the score of real layers falls with the number of samples."""
    arrays = np.load(activations)
    figure, axes = plt.subplots(figsize=(6, 4))
    lines = ["| layer | d | " + " | ".join(f"n = {2**k}" for k in range(6, 12)) + " |", "| --- " * 8 + "|"]
    for layer in REAL:
        x, y = arrays[layer + "_pre"], arrays[layer + "_post"]
        sizes = [2**k for k in range(6, 12) if 2**k <= len(x)]
        means = []
        for n in sizes:
            starts = range(0, min(len(x), 4 * n), n)
            means.append(float(np.mean([affinity_score(x[i : i + n], y[i : i + n]) for i in starts])))
        axes.semilogx(sizes, means, marker="o", base=2, label=f"{layer} (d = {x.shape[1]})")
        lines.append(f"| {layer} | {x.shape[1]} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    axes.set(xlabel="samples", ylabel="affinity score (mean over up to 4 disjoint groups)")
    axes.legend()
    figure.savefig(HERE / "bias.png", dpi=120, bbox_inches="tight")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--activations", type=Path)
    options = parser.parse_args()
    text = [
        "# Coverage of the 95 % interval",
        "",
        f"{datetime.date.today()}, {options.trials} trials each.",
        "",
    ]
    text += coverage(options.trials)
    text += ["", "*with interval*: share of trials that gave one; the others say why not."]
    if options.activations:
        text += ["", "# The score falls with the number of samples", "", "![bias](bias.png)", ""]
        text += bias_plot(options.activations)
    (HERE / "uncertainty.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
