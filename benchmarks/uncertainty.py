"""Do the intervals cover what they are for? Writes ``uncertainty.md`` and ``bias.png`` beside it.

    python -m benchmarks.uncertainty [--trials 200] [--rows ROWS --draws 100 40] [--activations activations.npz]

**Real layers**: ``ROWS`` has the rows of every activation of real networks (``benchmarks/pools.py``). Images are
drawn from them many times; the mean score over the draws is what the interval of each draw has to cover, and their
spread what the standard error estimates. Draws are random samples without replacement, so that the images in the
pool are the distribution, and two draws are independent. What a draw gives is kept in ``ROWS/<network>/<n>``: an
interrupted run goes on, and a finished one is only written down.

**Limits**: the score of the largest number of images that is computed has to lie between the bounds of n = 2,048.

**Synthetic layers** with independent normal features and an elementwise function have a limit that quadrature in
one dimension gives: the map is diagonal, and W2^2 is the sum over the features. Their bounds have to hold it. The
level of the bounds was chosen on ``CHOSEN``; ``OTHERS`` has functions and shapes that no choice has seen.

**The ridge**: what it does to the score as its share of the variance grows, by which ``evidence.RIDGE_SHARE`` was
chosen.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr, ndtri

from hf_affscore.score import affinity_score
from hf_affscore.score.affinity import solve
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.threads import one_blas_thread
from hf_affscore.score.uncertainty import uncertainty
from hf_affscore.summary import standardised, summarize

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = npt.NDArray[np.float64]

HERE = Path(__file__).parent
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * ndtr(x),
    "silu": lambda x: x * expit(x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.maximum(x, 0.1 * x),
}
SHAPES = [(64, 1), (1024, 1), (64, 4), (256, 4), (1024, 4), (128, 16), (512, 16), (512, 64), (1024, 64)]
SHAPES += [(256, 192), (128, 192), (128, 512)]  # nearly as many features as samples, and more
CHOSEN = [(name, n, d) for name in ("relu", "tanh", "gelu") for n, d in SHAPES]
OTHERS = [
    (name, n, d)
    for name in ("silu", "relu6", "leaky_relu")
    for n, d in [(100, 2), (700, 2), (300, 8), (800, 32), (400, 300), (200, 256)]
]
RIDGE_SHARES = (1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3)
REAL = ("features.2.conv.0.2", "features.2.conv.1.2", "features.8.conv.1.2", "features.18.2")
SIZES = (512, 2048)
FIELDS = ("score", "standard_error", "low", "high", "limit_low", "limit_high")


def known(x: Array, y: Array) -> list[float]:
    """The score of a layer and what is known about it: :data:`FIELDS`, then the effects of groups of samples."""
    solution = solve(Layer(Sample(x), Sample(y)), shrinkage=False, regularization=1e-6)
    found = uncertainty(solution)
    return [solution.score, *(getattr(found, name) for name in FIELDS[1:]), *found.effects]


def features(d: int) -> tuple[Array, Array]:
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


def trial(name: str, n: int, d: int, seed: int) -> list[float]:
    mean, deviation = features(d)
    x = mean + deviation * np.random.default_rng([seed, n, d]).normal(size=(n, d))
    return known(x, FUNCTIONS[name](x))


def synthetic(layers: list[tuple[str, int, int]], trials: int) -> list[str]:
    """One line of the table for every function and shape."""
    lines = [
        "| function | n | d | limit | mean score | spread | mean stderr | interval covers | bounds hold | bounds |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | :-: |",
    ]
    for name, n, d in layers:
        target = limit(name, d)
        with ThreadPoolExecutor(2) as pool, one_blas_thread():
            runs = np.array(
                [found[: len(FIELDS)] for found in pool.map(partial(trial, name, n, d), range(trials))]
            )
        score, error, low, high, below, above = runs.T
        covered = np.mean((low <= score.mean()) & (score.mean() <= high))
        held = np.mean((below <= target) & (target <= above))
        lines.append(
            f"| {name} | {n} | {d} | {target:.4f} | {score.mean():.4f} | {score.std(ddof=1):.4f} "
            f"| {error.mean():.4f} | {covered:.3f} | {held:.3f} | {below.mean():.3f} to {above.mean():.3f} |"
        )
        print(lines[-1], flush=True)
    return lines


class Pool:
    """The rows of one network's activations, on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = (folder / "names.txt").read_text().split("\n")
        self.size = len(self._rows(self.names[0], "pre"))

    def _rows(self, name: str, side: str) -> npt.NDArray[np.float32]:
        rows: npt.NDArray[np.float32] = np.load(self.folder / f"{name}_{side}.npy", mmap_mode="r")
        return rows

    def layer(self, name: str, chosen: npt.NDArray[np.intp]) -> tuple[Array, Array]:
        """Rows before and after an activation."""
        before, after = (np.ascontiguousarray(self._rows(name, side)[chosen]) for side in ("pre", "post"))
        return before, after  # type: ignore[return-value]

    def width(self, name: str) -> int:
        """Features of an activation."""
        return int(self._rows(name, "pre").shape[1])

    def draw(self, n: int, number: int) -> Array:
        """What one draw of n images gives for every activation: :func:`known` in rows."""
        file = self.folder / str(n) / f"{number:03d}.npy"
        if not file.exists():
            chosen = np.sort(np.random.default_rng([n, number]).choice(self.size, n, replace=False))
            with one_blas_thread():
                found = np.array([known(*self.layer(name, chosen)) for name in self.names])
            file.parent.mkdir(exist_ok=True)
            np.save(file, found)
        stored: Array = np.load(file)
        return stored


def measure(pool: Pool, draws: dict[int, int], seconds: float) -> None:
    """Make the draws that are missing, until the time is over."""
    end = time.monotonic() + seconds
    for n, count in draws.items():
        for number in range(count):
            if time.monotonic() > end:
                return
            pool.draw(n, number)


def real(pool: Pool) -> list[str]:
    """What the draws that were made show, one line for every activation, and one sentence for every n."""
    lines: list[str] = []
    for n in sorted(int(folder.name) for folder in pool.folder.iterdir() if folder.name.isdigit()):
        count = len(list((pool.folder / str(n)).glob("*.npy")))
        if count < 10:
            continue
        runs = np.array([pool.draw(n, number) for number in range(count)])
        score, error, low, high = (runs[:, :, place] for place in range(4))
        # Of a pool that is no infinite distribution, draws without replacement differ less by this factor.
        finite = math.sqrt(1 - n / pool.size)
        low, high, error = score + finite * (low - score), score + finite * (high - score), finite * error
        mean, spread = score.mean(axis=0), score.std(axis=0, ddof=1)
        covered = ((low <= mean) & (mean <= high)).mean(axis=0)
        ratio = np.sqrt((error**2).mean(axis=0)) / spread
        within = int(((covered >= 0.9) & (covered <= 0.99)).sum())
        lines += [
            f"### {pool.folder.name}, n = {n}: {count} draws of {pool.size} images",
            "",
            f"The 95 % interval covers the mean over the draws in 90 to 99 % of them for {within} of "
            f"{len(mean)} layers, at least in {covered.min():.3f}, at most in {covered.max():.3f}; in "
            f"{covered.mean():.3f} over all. The standard error is {ratio.min():.2f} to {ratio.max():.2f} of the "
            f"spread, {ratio.mean():.2f} in the mean. (Interval and error times {finite:.3f}, since draws of "
            f"{n} of {pool.size} images differ less than draws of infinitely many do.)",
            "",
            summaries(runs, finite),
            "",
            "| layer | d | mean score | spread | stderr / spread | covered | limit, mean bounds |",
            "| --- | --: | --: | --: | --: | --: | :-: |",
        ]
        for place, name in enumerate(pool.names):
            below, above = runs[:, place, 4].mean(), runs[:, place, 5].mean()
            lines.append(
                f"| {name} | {pool.width(name)} | {mean[place]:.4f} | {spread[place]:.5f} | {ratio[place]:.2f} "
                f"| {covered[place]:.3f} | {below:.3f} to {above:.3f} |"
            )
        lines.append("")
    return lines


def summaries(runs: Array, finite: float) -> str:
    """The errors of mean and median over the layers, as ``Signature.summary()`` has them, against their spread."""
    found = np.array([_summary(draw) for draw in runs])
    parts = []
    for name, values, errors in (("mean", found[:, 0], found[:, 1]), ("median", found[:, 2], found[:, 3])):
        spread, error = values.std(ddof=1), finite * math.sqrt((errors**2).mean())
        covered = np.mean(np.abs(values - values.mean()) <= 1.96 * finite * errors)
        parts.append(f"the {name} over the layers {spread:.5f} and {error:.5f} (covered in {covered:.2f})")
    return f"Spread over the draws and standard error of `summary()`: {' and '.join(parts)}."


def _summary(draw: Array) -> list[float]:
    """Mean and median over the layers of one draw, each with its standard error."""
    rows = [
        {
            "affinity_score": layer[0],
            "affinity_score_stderr": layer[1],
            "affinity_score_effects": standardised(layer[len(FIELDS) :]),
            "evidence": "ok",
        }
        for layer in draw
    ]
    found = summarize(rows)
    return [found[name] for name in ("mean", "mean_stderr", "median", "median_stderr")]


def limits(pool: Pool, n: int, largest: int) -> list[str]:
    """Whether the score of the largest draw lies between the bounds of draws of n."""
    if not (pool.folder / str(largest)).exists() or not (pool.folder / str(n)).exists():
        return []
    truth = pool.draw(largest, 0)[:, 0]
    runs = np.array([pool.draw(n, k) for k in range(len(list((pool.folder / str(n)).glob("*.npy"))))])
    inside = (runs[:, :, 4] <= truth) & (truth <= runs[:, :, 5])
    lines = [
        f"### {pool.folder.name}",
        "",
        f"The score of n = {largest} lies between the bounds of n = {n} in {inside.mean():.3f} of the "
        f"{inside.size} cases, and in every draw for {int(inside.all(axis=0).sum())} of {inside.shape[1]} layers. "
        "One draw:",
        "",
        f"| layer | d | score of {n} | stderr | bounds | score of {largest} |",
        "| --- | --: | --: | --: | :-: | --: |",
    ]
    one = runs[0][:, : len(FIELDS)]
    for name, (score, error, _, _, below, above), true in zip(pool.names, one, truth, strict=True):
        lines.append(
            f"| {name} | {pool.width(name)} | {score:.4f} | {error:.4f} | {below:.4f} to {above:.4f} | {true:.4f} |"
        )
    return [*lines, ""]


def enough(pool: Pool, n: int) -> list[str]:
    """What chance and more images do to a score of n images, by width: medians over layers and draws."""
    files = sorted((pool.folder / str(n)).glob("*.npy"))
    if not files:
        return []
    runs = np.array([pool.draw(n, number) for number in range(len(files))])
    score, error, _, _, below, above = np.moveaxis(runs, 2, 0)[: len(FIELDS)]
    falls, rises = np.maximum(score - below, 0), np.maximum(above - score, 0)
    widths = np.array([pool.width(name) for name in pool.names])
    lines = [
        f"### {pool.folder.name}, n = {n}: {len(files)} draws",
        "",
        "| features | layers | standard error | more images lower it by at most | raise it by at most |",
        "| --: | --: | --: | --: | --: |",
    ]
    for width in sorted(set(widths)):
        here = widths == width
        figures = (
            f"{np.median(v[:, here]):.3f} ({np.median(v[:, here], 0).max():.3f})" for v in (error, falls)
        )
        lines.append(f"| {width} | {here.sum()} | {' | '.join(figures)} | {np.median(rises[:, here]):.2f} |")
    return [*lines, ""]


def ridge(pool: Pool, n: int = 1024) -> list[str]:
    """How far the score moves from that with hardly a ridge, by the share of the ridge in the variance."""
    chosen = np.random.default_rng(n).choice(pool.size, n, replace=False)
    moved = []
    with one_blas_thread():
        for name in pool.names:
            scaled = [
                side / math.sqrt(side.var(axis=0).mean())
                for side in (rows.astype(np.float64) for rows in pool.layer(name, chosen))
            ]
            scores = [affinity_score(*scaled, regularization=share / (1 - share)) for share in RIDGE_SHARES]
            moved.append(np.abs(np.subtract(scores, scores[0])))
    return [
        f"{pool.folder.name}, {len(moved)} layers, n = {n}.",
        "",
        "| share of the ridge | " + " | ".join(f"{share:g}" for share in RIDGE_SHARES[1:]) + " |",
        "| --- |" + " --: |" * len(RIDGE_SHARES[1:]),
        "| median change | " + " | ".join(f"{v:.3f}" for v in np.median(moved, axis=0)[1:]) + " |",
        "| largest | " + " | ".join(f"{v:.3f}" for v in np.max(moved, axis=0)[1:]) + " |",
        "",
    ]


def cost(pool: Pool, n: int = 2048) -> list[str]:
    """The share of the standard error and the bounds in the processor time of the whole record."""
    from hf_affscore.score import score_layer

    chosen = np.arange(n)
    whole = own = 0.0
    with one_blas_thread():
        for name in pool.names:
            x, y = pool.layer(name, chosen)
            start = time.process_time()
            score_layer(x, y, shrinkage=True, regularization=1e-6)
            whole += time.process_time() - start
            solution = solve(Layer(Sample(x), Sample(y)), shrinkage=False, regularization=1e-6)
            start = time.process_time()
            uncertainty(solution)
            own += time.process_time() - start
    return [
        f"{pool.folder.name}, n = {n}: {own:.1f} of {whole:.1f} s of processor time, {own / whole:.0%}.",
        "",
    ]


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
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--draws", type=int, nargs=len(SIZES), default=(100, 40), help="at n = 512 and 2,048")
    parser.add_argument("--largest", type=int, default=8192)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop measuring after so long")
    options = parser.parse_args()
    text = [
        "# Whether the intervals cover what they are for",
        "",
        f"{datetime.date.today()}. What each claim is about: random crops of seven photographs are independent "
        "draws from a small world, and the digits are 1,797 really different images.",
        "",
    ]
    if options.rows:
        pools = [Pool(file.parent) for file in sorted(options.rows.glob("*/names.txt"))]
        for pool in pools:
            sizes = {n: count for n, count in zip(SIZES, options.draws, strict=True) if n < pool.size / 2}
            measure(pool, sizes, options.seconds)
            if pool.size >= 50_000:
                measure(pool, {options.largest: 1}, options.seconds)
        text += ["## Real layers", "", *(line for pool in pools for line in real(pool))]
        text += ["## Bounds of the limit on real layers", ""]
        text += [line for pool in pools for line in limits(pool, 2048, options.largest)]
        text += [
            "## When so many images are enough",
            "",
            "Medians; in brackets those of the worst layer.",
            "",
        ]
        text += [line for pool in pools for line in enough(pool, 2048)]
        text += ["## What the ridge does", "", *(line for pool in pools for line in ridge(pool))]
        text += [
            "## What it costs",
            "",
            *(line for pool in pools if pool.size >= 4096 for line in cost(pool)),
        ]
    trials = f"{options.trials} trials each."
    text += ["## Synthetic layers", "", trials, "", *synthetic(CHOSEN, options.trials)]
    text += ["", "### Functions and shapes on which nothing was chosen", "", trials, ""]
    text += synthetic(OTHERS, options.trials)
    if options.activations:
        text += ["", "## The score falls with the number of samples", "", "![bias](bias.png)", ""]
        text += bias_plot(options.activations)
    (HERE / "uncertainty.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
