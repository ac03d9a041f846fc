"""Cost of a whole record as the features grow, and that it nowhere jumps; writes ``widths.md`` and ``widths.png``.

    OMP_NUM_THREADS=1 python -m benchmarks.widths widths.json
    OMP_NUM_THREADS=1 python -m benchmarks.widths widths.json --samples 8192 --widest 4096

measures what the JSON file does not have yet, so that it can be stopped and run again, and draws all that it has.
Rows are like those of a transformer's perceptron: inputs are sums of a quarter as many features (at most 768), of
decaying spread, and inputs and their GELU are pooled over four tokens. Seconds are the processor's, of one thread.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from hf_affscore.plots.style import COLOURS, MARKERS, new_figure, save, style
from hf_affscore.score import score_layer

HERE = Path(__file__).parent
WIDTHS = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)

#: Widths on both sides of which another road is taken, whatever the samples: ``NARROW`` and ``WIDE``.
SWITCHES = (128, 255)
TOKENS, RANK = 4, 768

#: Records shorter than this many seconds are made several times, and the least time is taken.
SHORT, REPEATS = 2.0, 3


def rows(num_samples: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pooled inputs and outputs of a GELU, float32, shape ``(n, d)``."""
    rng = np.random.default_rng(0)
    rank = min(width // 4, RANK)
    spread = np.logspace(0.5, -1.5, rank)
    weights = (rng.normal(size=(rank, width)) * (2 / rank**0.5) * spread[:, None]).astype(np.float32)
    image = rng.normal(size=(num_samples, rank)).astype(np.float32)
    pre, post = np.zeros((2, num_samples, width), np.float32)
    for _ in range(TOKENS):
        values = (image + rng.normal(size=image.shape).astype(np.float32)) @ weights
        pre += values / TOKENS
        post += values * ndtr(values) / TOKENS
    return pre, post


def seconds(num_samples: int, width: int) -> float:
    """Processor time of a whole record; of short ones the least of some runs."""
    pre, post = rows(num_samples, width)
    times: list[float] = []
    while len(times) < (REPEATS if not times or times[0] < SHORT else 1):
        start = time.process_time()
        score_layer(pre, post, shrinkage=True, regularization=1e-6)
        times.append(time.process_time() - start)
    return min(times)


def widths_of(num_samples: int, widest: int) -> list[int]:
    """Widths to measure, with those on both sides of each switch: to wide samples, and to coordinates of rows."""
    switches = [*SWITCHES, num_samples, 2 * num_samples]
    chosen = {*WIDTHS, *switches, *(width + 1 for width in switches)}
    return sorted(width for width in chosen if width <= widest)


def picture(measured: dict[int, dict[int, float]]) -> None:
    """Seconds against features, one line for each number of samples."""
    with style():
        figure = new_figure(6.5, 4)
        axis = figure.subplots()
        for (samples, times), colour, marker in zip(sorted(measured.items()), COLOURS, MARKERS, strict=False):
            axis.plot(*zip(*sorted(times.items()), strict=True), color=colour, marker=marker, markersize=4)
            last = max(times)
            axis.annotate(f" {samples:,} samples", (last, times[last]), color=colour, va="center")
        axis.set(xscale="log", yscale="log", xlabel="features", ylabel="seconds of one core")
        ticks = WIDTHS[0] * 4 ** np.arange(5)
        axis.set_xticks(ticks, [f"{width:,}" for width in ticks])
        axis.set_xlim(right=WIDTHS[-1] * 4)
        axis.minorticks_off()
        save(figure, HERE / "widths.png")


def page(measured: dict[int, dict[int, float]]) -> str:
    """The tables: all widths, and the steepest steps between neighbours."""
    sizes = sorted(measured)
    lines = [
        "# One record as the features grow",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} cores, shared; processor seconds of one thread for a whole "
        "record, shrunk score included. Rows as `widths.py` makes them.",
        "",
        "![seconds against features](widths.png)",
        "",
        "| features | " + " | ".join(f"{n:,} samples" for n in sizes) + " |",
        "| --- " * (len(sizes) + 1) + "|",
    ]
    for width in sorted({width for times in measured.values() for width in times}):
        cells = [f"{measured[n][width]:.2f}" if width in measured[n] else "" for n in sizes]
        lines.append(f"| {width:,} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "From one width to the next, one feature more, where another road is taken. Rows of two widths are",
        "different rows: some need the solver of the assignment and others do not. Of 8,192 samples those of 129",
        "features need it and those of 128 do not; the first 128 features of the former take 3.0 s.",
        "",
    ]
    lines += ["| samples | features | seconds | ratio |", "| --- | --- | --- | --- |"]
    for n in sizes:
        for one, more in itertools.pairwise(sorted(measured[n])):
            if more == one + 1:
                before, after = measured[n][one], measured[n][more]
                lines.append(
                    f"| {n:,} | {one:,} to {more:,} | {before:.2f} to {after:.2f} | {after / before:.2f} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "results", type=Path, help="JSON file of what has been measured; made if it is missing"
    )
    parser.add_argument("--samples", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--widest", type=int, default=WIDTHS[-1])
    options = parser.parse_args()
    known = json.loads(options.results.read_text()) if options.results.exists() else {}
    for samples in options.samples:
        times = known.setdefault(str(samples), {})
        for width in widths_of(samples, options.widest):
            if str(width) not in times:
                times[str(width)] = seconds(samples, width)
                print(f"{samples} samples, {width} features: {times[str(width)]:.2f} s", flush=True)
                options.results.write_text(json.dumps(known))
    measured = {int(n): {int(d): t for d, t in times.items()} for n, times in known.items() if times}
    picture(measured)
    (HERE / "widths.md").write_text(page(measured))


if __name__ == "__main__":
    main()
