"""The whole record against the straightforward road, on real activations; writes ``score.md`` and ``scaling.png``.

    python benchmarks/activations.py <wheel> activations.npz     # once: see there
    python benchmarks/score.py activations.npz

Times are compared within one run, layer by layer and in turns, so that other load on the machine falls on both
sides alike. The naive road may use all threads that its libraries take; ours runs in one thread and in two.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import naive
import numpy as np
import ot
import torch
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_info, threadpool_limits

from hf_affscore.run.memory import freed_memory_kept
from hf_affscore.score import affinity_score, score_layer
from hf_affscore.score.affinity import solve
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.transport import optimal_coupling

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
TURNS = 3  # the assignments take tens of milliseconds: the best of three, in turns
PACKAGES = ("numpy", "scipy", "torch", "POT", "scikit-learn")
Pair = tuple[np.ndarray, np.ndarray]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def whole_record(pair: Pair) -> dict[str, Any]:
    return score_layer(*pair, shrinkage=True, regularization=1e-6)


def compare_layer(pair: Pair) -> dict[str, float]:
    """Seconds of both roads for one layer on one core, and of the assignment alone with three solvers."""
    row: dict[str, float] = {"d": pair[0].shape[1]}
    with cores(1):
        row["record"], record = seconds(lambda: whole_record(pair))
        row["naive record"], naive_record = seconds(lambda: naive.record(*pair))
        row["score"], _ = seconds(lambda: affinity_score(*pair))
        row["naive score"], _ = seconds(lambda: naive.affinity_score(*pair))
        row["value"], row["naive value"] = record["affinity_score"], naive_record["affinity_score"]
        solution = solve(Layer(*map(Sample, pair)), shrinkage=False, regularization=1e-6)
        mapped, target = solution.mapped, solution.target
        weights = np.full(len(mapped), 1 / len(mapped))
        solvers: dict[str, Callable[[], Any]] = {
            "assignment": lambda: optimal_coupling(mapped, target),
            "scipy": lambda: linear_sum_assignment(ot.dist(mapped, target)),
            "simplex": lambda: ot.emd2(weights, weights, ot.dist(mapped, target), numItermax=10_000_000),
        }
        turns = [{name: seconds(solver)[0] for name, solver in solvers.items()} for _ in range(TURNS)]
    return row | {name: min(turn[name] for turn in turns) for name in solvers}


@contextmanager
def cores(count: int) -> Iterator[None]:
    """So many threads for torch and BLAS."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    with threadpool_limits(count):
        yield
    torch.set_num_threads(before)


def all_layers(pairs: list[Pair]) -> dict[str, float]:
    """Seconds for all layers: both roads on two cores, ours also on one.

    The naive road leaves the second core to torch and BLAS; ours scores two layers at a time, wide ones first, as
    the runner does.
    """

    def ours(function: Callable[[Pair], Any], threads: int) -> float:
        order = sorted(pairs, key=lambda pair: -pair[0].shape[1])
        with ThreadPoolExecutor(threads) as pool:
            return seconds(lambda: list(pool.map(function, order)))[0]

    def score(pair: Pair) -> float:
        return affinity_score(*pair)

    total = {
        "record, one thread": ours(whole_record, 1),
        "record": ours(whole_record, 2),
        "score, one thread": ours(score, 1),
        "score": ours(score, 2),
    }
    with cores(2):
        total["naive record"] = seconds(lambda: [naive.record(*pair) for pair in pairs])[0]
        total["naive score"] = seconds(lambda: [naive.affinity_score(*pair) for pair in pairs])[0]
    return total


def layers_table(rows: dict[str, dict[str, float]]) -> list[str]:
    names = ["d", "value", "naive value", "record", "naive record", "score", "naive score"]
    names += ["assignment", "scipy", "simplex"]
    lines = ["| layer | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for layer, row in rows.items():
        cells = [f"{row[name]:.0f}" if name == "d" else f"{row[name]:.3f}" for name in names]
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    return lines


def scaling_of(n: int, d: int) -> tuple[float, float]:
    """Seconds and peak megabytes of one score of n samples, in a process of its own."""
    # VmHWM, since ru_maxrss of a new process starts from its parent's.
    code = (
        "import re, sys, time, numpy as np\n"
        "from hf_affscore.score import affinity_score\n"
        "n, d = int(sys.argv[1]), int(sys.argv[2])\n"
        "x = np.random.default_rng(0).normal(size=(n, d)) - 0.5\n"
        "start = time.perf_counter(); affinity_score(x, np.clip(x, 0, 1))\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "print(time.perf_counter() - start, peak / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(n), str(d)], capture_output=True, text=True, check=True
    )
    elapsed, megabytes = done.stdout.split()
    return float(elapsed), float(megabytes)


def scaling_plot(largest: int) -> list[str]:
    """Time and memory of one score as n grows, drawn and as a table."""
    sizes = [n for n in (256, 512, 1024, 2048, 4096, 8192, 16384) if n <= largest]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    lines = ["| d | n | seconds | peak MB |", "| --- | --- | --- | --- |"]
    for d in (32, 512):
        measured = [scaling_of(n, d) for n in sizes]
        left.loglog(sizes, [m[0] for m in measured], marker="o", label=f"d = {d}")
        right.loglog(sizes, [m[1] for m in measured], marker="o", label=f"d = {d}")
        lines += [f"| {d} | {n} | {s:.2f} | {m:.0f} |" for n, (s, m) in zip(sizes, measured, strict=True)]
        print("\n".join(lines[-len(sizes) :]), flush=True)
    left.set(xlabel="samples", ylabel="seconds")
    right.set(xlabel="samples", ylabel="peak memory of the process, MB")
    left.legend()
    figure.tight_layout()
    figure.savefig(HERE / "scaling.png", dpi=120)
    return lines


def listed(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {time:.1f} s" for name, time in times.items())


def machine() -> str:
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernels = {pool.get("architecture") for pool in threadpool_info() if pool["user_api"] == "blas"}
    blas = ", ".join(sorted(filter(None, kernels)))
    return f"{model}, {os.cpu_count()} cores, OpenBLAS for {blas}, Python {platform.python_version()}, {packages}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("activations", type=Path)
    parser.add_argument(
        "--largest", type=int, default=16384, help="largest n of the scaling plot; 0 for none"
    )
    options = parser.parse_args()
    arrays = np.load(options.activations)
    names = [name[: -len("_pre")] for name in arrays if name.endswith("_pre")]
    pairs = {name: (arrays[name + "_pre"], arrays[name + "_post"]) for name in names}
    rows: dict[str, dict[str, float]] = {}
    with freed_memory_kept():  # as during a run
        whole_record(pairs[names[0]])  # load what is loaded on first use
        for name, pair in pairs.items():
            rows[name] = compare_layer(pair)
            print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
        two = all_layers(list(pairs.values()))
    total = {key: sum(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    ratios = {
        "whole record, naive / ours, two cores": two["naive record"] / two["record"],
        "whole record, naive / ours, one core": total["naive record"] / total["record"],
        "score alone, naive / ours, two cores": two["naive score"] / two["score"],
        "score alone, naive / ours, one core": total["naive score"] / total["score"],
        "assignment, scipy / ours": total["scipy"] / total["assignment"],
        "assignment, network simplex / ours": total["simplex"] / total["assignment"],
        "assignment, worst layer: ours / better of both": max(
            row["assignment"] / min(row["scipy"], row["simplex"]) for row in rows.values()
        ),
        "whole record, one thread / two threads": two["record, one thread"] / two["record"],
    }
    samples = len(next(iter(pairs.values()))[0])
    text = [f"# Scoring {len(rows)} layers of MobileNetV2, n = {samples}", ""]
    text += [f"{datetime.date.today()}, {machine()}.", "", "| ratio | |", "| --- | --- |"]
    text += [f"| {name} | {value:.2f} |" for name, value in ratios.items()]
    text += ["", "Seconds per layer on one core; *value* is the affinity score.", "", *layers_table(rows)]
    text += ["", "All layers on one core: " + listed({key: total[key] for key in list(total)[1:5]}) + "."]
    text += ["", "All layers on two cores: " + listed(two) + "."]
    if options.largest:
        text += [
            "",
            "# One score as n grows",
            "",
            "![scaling](scaling.png)",
            "",
            *scaling_plot(options.largest),
        ]
    (HERE / "score.md").write_text("\n".join(text) + "\n")
    print("\n".join(text[:14]))


if __name__ == "__main__":
    main()
