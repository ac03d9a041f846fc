"""What an analysis costs on an accelerator, and whether its numbers are those of the CPU; writes ``gpu.md``.

    python -m benchmarks.gpu                 # on the GPU, at most five minutes
    python -m benchmarks.gpu --device cpu --quick --output /tmp/gpu.md   # tries the script where there is none

It needs nothing but this package: rows are drawn at random, and the networks are those of transformers with random
weights. Three questions, in the order in which they are answered:

1. How long does the record of a layer take there, alone and where eight of one width are scored together, and how
   long on one core? And how much memory?
2. Are its numbers those of the CPU? The largest difference in every column. Where a score differs by more than 1e-9
   the script ends with status 1, when the table is written.
3. How many images a second pass through ResNet-50 and ViT-L alone, and in an analysis, scores included, with layers
   scored on the CPU and on the accelerator?

Nothing new begins after four minutes; what is left out says so.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

import hf_affscore as ha
from hf_affscore.run.columns import TOGETHER
from hf_affscore.score import score_layer
from hf_affscore.score.together import together

HERE = Path(__file__).parent

#: Seconds after which nothing new begins.
LATEST = 240

#: The most that a score may differ from the CPU's, and the columns that are scores.
TOLERANCE = 1e-9
SCORES = ("affinity_score", "identity_coupling_score", "affinity_score_shrunk")

#: Of an analysis with layers scored on the accelerator: how it may use its memory.
GIGABYTES = 8.0

Rows = np.ndarray[Any, Any]


class Size(NamedTuple):
    """How much is measured.

    Attributes:
        samples: Rows of a layer.
        widths: Features of the layers, the last with more than samples.
        images: Through each network.
        batch: Images of a forward pass.
    """

    samples: int
    widths: tuple[int, ...]
    images: int
    batch: int


WHOLE = Size(2048, (64, 256, 768, 1280, 3072), 512, 64)
#: ``--quick``: the same in seconds, for a machine without an accelerator.
QUICK = Size(64, (16, 40, 100), 16, 8)


def layers(size: Size) -> Iterator[tuple[str, Rows, Rows]]:
    """Name and float32 rows before and after an activation: ReLUs, and one that needs the assignment solver."""
    for d in size.widths:
        before = correlated(size.samples, d)
        yield f"ReLU, {d} features", before, np.maximum(before, 0)
    before = correlated(size.samples, size.widths[0])
    yield f"saturated, {size.widths[0]} features", before, np.tanh(20 * before)


def correlated(n: int, d: int) -> Rows:
    """Features that depend on each other, and whose variances span two powers of ten."""
    rng = np.random.default_rng([n, d])
    mixing = rng.standard_normal((d, d)) / math.sqrt(d) * np.logspace(0, -1, d)
    rows = rng.standard_normal((n, d)) @ mixing + 0.1 * rng.standard_normal(d)
    return rows.astype(np.float32)


def record(before: Any, after: Any) -> dict[str, Any]:
    """Everything that a signature holds of one activation."""
    return score_layer(before, after, shrinkage=True, regularization=1e-6)


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Between two records, by column; infinite where only one of them is undefined, or texts differ."""
    found = {}
    for name, value in first.items():
        other = second[name]
        if isinstance(value, float):
            same = math.isnan(value) and math.isnan(other)
            distance = 0.0 if same else abs(value - other)
            found[name] = math.inf if math.isnan(distance) else distance
        elif not isinstance(value, tuple):
            found[name] = 0.0 if value == other else math.inf
    return found


def timed(device: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[float, Any]:
    """Seconds that a call takes, with everything that the device still has to do, and its result."""
    synchronise(device)
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    synchronise(device)
    return time.perf_counter() - start, result


def records_together(rows: list[torch.Tensor]) -> list[dict[str, Any]]:
    """As many records of one layer as an analysis computes together."""
    return together([partial(record, *(side.clone() for side in rows)) for _ in range(TOGETHER)])


def synchronise(device: str) -> None:
    """Wait until the device is done."""
    if device != "cpu":
        torch.get_device_module(torch.device(device)).synchronize()


def peak(device: str) -> str:
    """Most gigabytes of the device's memory since this was asked last, where that is known."""
    if not device.startswith("cuda"):
        return "-"
    found = torch.cuda.max_memory_allocated(device) / 1e9
    torch.cuda.reset_peak_memory_stats(device)
    return f"{found:.2f}"


def scores(device: str, size: Size, late: Callable[[], bool], worst: dict[str, float]) -> Iterator[str]:
    """The first question, a line for every layer; ``worst`` takes what the second one asks."""
    yield (
        f"| layer | seconds on one core | seconds on the device | each of {TOGETHER} together | peak GB "
        "| largest difference of a score |"
    )
    yield "| --- | --: | --: | --: | --: | --: |"
    for name, *host in layers(size):
        if late():
            yield f"| {name} | left out: out of time | | | | |"
            continue
        there = [torch.from_numpy(rows).to(device) for rows in host]
        record(*there)  # the first call loads the libraries of the device
        peak(device)
        taken, found = timed(device, record, *there)
        all_taken, all_found = timed(device, records_together, there)
        most = peak(device)
        alone, expected = timed("cpu", record, *host)
        apart = differences(expected, found)
        for other in all_found:
            apart = {column: max(apart[column], far) for column, far in differences(expected, other).items()}
        worst.update({column: max(apart[column], worst.get(column, 0.0)) for column in apart})
        yield (
            f"| {name} | {alone:.2f} | {taken:.2f} | {all_taken / TOGETHER:.2f} | {most} "
            f"| {max(map(apart.get, SCORES)):.1e} |"
        )


def columns(worst: dict[str, float]) -> Iterator[str]:
    """The second question: a line for every column."""
    yield "| column | largest difference from the CPU's |"
    yield "| --- | --: |"
    for name, apart in worst.items():
        yield f"| `{name}` | {apart:.1e} |"


def networks(quick: bool) -> Iterator[tuple[str, nn.Module]]:
    """ResNet-50 and ViT-L/16 with random weights; small ones of the same kinds with ``quick``."""
    torch.manual_seed(0)
    if quick:
        small = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], num_labels=10)
        tiny = ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
        yield "small ResNet", ResNetForImageClassification(small)
        yield "small ViT", ViTForImageClassification(tiny)
        return
    yield "ResNet-50", ResNetForImageClassification(ResNetConfig())
    large = ViTConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16)
    yield "ViT-L/16", ViTForImageClassification(large)


@torch.no_grad()  # as in an analysis
def bare_passes(model: nn.Module, images: list[torch.Tensor], batch: int, device: str) -> None:
    """All images through the network, and nothing else."""
    for start in range(0, len(images), batch):
        model(torch.stack(images[start : start + batch]).to(device))


def passes(device: str, size: Size, late: Callable[[], bool]) -> Iterator[str]:
    """The third question: a line for every network, pooling and place of scoring."""
    count, batch = size.images, size.batch
    images = list(torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    usual: dict[str, Any] = {"shuffle": False, "cache": False, "progress": False}
    yield "| network | pooling | scored on | images/s alone | images/s analysed | activations | peak GB |"
    yield "| --- | --- | --- | --: | --: | --: | --: |"
    for name, model in networks(size is QUICK):
        if late():
            yield f"| {name} | left out: out of time | | | | | |"
            continue
        model = model.eval().to(device)
        bare_passes(model, images[:batch], batch, device)  # the first run of anything loads libraries
        ha.analyze(model, images[:batch], num_samples=batch, **usual)
        bare, _ = timed(device, bare_passes, model, images, batch, device)
        for pooling, limit in (("paper", 0.0), ("channels", 0.0), ("channels", GIGABYTES)):
            place = "the device" if limit else "the CPU"
            if late():
                yield f"| {name} | {pooling} | {place} | left out: out of time | | | |"
                continue
            options = {"num_samples": count, "batch_size": batch, "pooling": pooling, **usual}
            peak(device)
            whole, signature = timed(device, ha.analyze, model, images, device_memory_limit=limit, **options)
            yield (
                f"| {name} | {pooling} | {place} | {count / bare:.0f} | {count / whole:.0f} "
                f"| {len(signature.rows)} | {peak(device)} |"
            )


def heading(device: str, size: Size) -> list[str]:
    """What was measured, where and when."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return [
        "# On an accelerator",
        "",
        f"{datetime.date.today()}, {name}, torch {torch.__version__}, {os.cpu_count()} cores.",
        f"{size.samples} random rows a layer; {size.images} random images in batches of {size.batch}; random "
        "weights. An analysis is the whole of it: passes, capture, all statistics and scores of all activations.",
        "",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table, and return 1 if a score is not the CPU's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else None)
    parser.add_argument("--quick", action="store_true", help="small layers and networks, to try the script")
    parser.add_argument("--output", type=Path, default=HERE / "gpu.md")
    options = parser.parse_args(arguments)
    if options.device is None:
        parser.error("no GPU found; expected one, or --device cpu --quick to try the script")
    size = QUICK if options.quick else WHOLE
    begun, worst = time.monotonic(), dict[str, float]()

    def late() -> bool:
        return time.monotonic() - begun > LATEST

    lines = heading(options.device, size)
    for part in (
        scores(options.device, size, late, worst),
        columns(worst),  # which the first has filled
        passes(options.device, size, late),
    ):
        for line in part:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
        options.output.write_text("\n".join(lines[:-1]) + "\n")
    wrong = [name for name in SCORES if not worst.get(name, 0.0) <= TOLERANCE]
    if wrong:
        print(f"differs by more than {TOLERANCE:g} from the CPU: {', '.join(wrong)}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
