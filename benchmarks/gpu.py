"""What an analysis costs on an accelerator, and whether its numbers are those of the CPU; writes ``gpu.md``.

    python -m benchmarks.gpu                 # on the GPU, at most five minutes
    python -m benchmarks.gpu --device cpu --quick --output /tmp/gpu.md   # tries the script where there is none

It needs nothing but this package: rows are drawn at random, and the networks are those of transformers with random
weights. Three questions, in the order in which they are answered:

1. Does a layer that lies on the device get the record that it gets in main memory? The largest difference of every
   column, over layers of several widths.
2. How long does a layer take there, and how long on one core?
3. How many images a second pass through ResNet-50 and ViT-L alone, and in an analysis, scores included?
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

import hf_affscore as ha
from hf_affscore.score import score_layer

HERE = Path(__file__).parent
WIDTHS, SAMPLES, IMAGES, BATCH = (64, 256, 768, 1280, 3072), 2048, 1024, 64
#: ``--quick``: the same in seconds, for a machine without an accelerator.
QUICK_WIDTHS, QUICK_SAMPLES, QUICK_IMAGES, QUICK_BATCH = (16, 64), 256, 16, 8


def layer(n: int, d: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows before and after a ReLU, float32: correlated features whose variances span two powers of ten."""
    rng = np.random.default_rng([n, d])
    mixing = rng.standard_normal((d, d)) / math.sqrt(d) * np.logspace(0, -1, d)
    before = (rng.standard_normal((n, d)) @ mixing + 0.1 * rng.standard_normal(d)).astype(np.float32)
    return before, np.maximum(before, 0)


def record(before: Any, after: Any) -> dict[str, Any]:
    """Everything that a signature holds of one activation."""
    return score_layer(before, after, shrinkage=True, regularization=1e-6)


def largest_difference(first: dict[str, Any], second: dict[str, Any]) -> tuple[float, str]:
    """Between the numbers of two records, and the column that has it."""
    numbers = {name: value for name, value in first.items() if isinstance(value, float)}
    return max((abs(value - second[name]), name) for name, value in numbers.items() if not math.isnan(value))


def timed(device: str, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[float, Any]:
    """Seconds that a call takes, with everything that the device still has to do, and its result."""
    synchronise(device)
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    synchronise(device)
    return time.perf_counter() - start, result


def synchronise(device: str) -> None:
    """Wait until the device is done."""
    if device != "cpu":
        torch.get_device_module(device).synchronize()


def scores(device: str, widths: tuple[int, ...], samples: int) -> Iterator[str]:
    """The first two questions: a line for every width."""
    yield "| features | seconds on one core | seconds on the device | largest difference | in |"
    yield "| --: | --: | --: | --: | --- |"
    for d in widths:
        host = layer(samples, d)
        there = tuple(torch.from_numpy(rows).to(device) for rows in host)
        record(*there)  # the first call loads the libraries of the device
        taken, found = timed(device, record, *there)
        alone, expected = timed("cpu", record, *host)
        difference, column = largest_difference(expected, found)
        yield f"| {d} | {alone:.2f} | {taken:.2f} | {difference:.1e} | `{column}` |"


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


@torch.inference_mode()
def bare_passes(model: nn.Module, images: list[torch.Tensor], batch: int, device: str) -> None:
    """All images through the network, and nothing else."""
    for start in range(0, len(images), batch):
        model(torch.stack(images[start : start + batch]).to(device))


def passes(device: str, quick: bool, count: int, batch: int) -> Iterator[str]:
    """The third question: a line for every network and pooling."""
    images = list(torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    yield "| network | pooling | images/s alone | images/s analysed | ratio | activations | peak GB |"
    yield "| --- | --- | --: | --: | --: | --: | --: |"
    for name, model in networks(quick):
        model = model.eval().to(device)
        bare_passes(model, images[:batch], batch, device)  # the first run of anything loads libraries
        ha.analyze(model, images[:batch], num_samples=batch, cache=False, progress=False)
        bare, _ = timed(device, bare_passes, model, images, batch, device)
        for pooling in ("paper", "channels"):
            options: dict[str, Any] = {"num_samples": count, "batch_size": batch, "pooling": pooling}
            options |= {"shuffle": False, "cache": False, "progress": False}
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            whole, signature = timed(device, ha.analyze, model, images, **options)
            peak = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if device.startswith("cuda") else "-"
            yield (
                f"| {name} | {pooling} | {count / bare:.0f} | {count / whole:.0f} | {whole / bare:.2f} "
                f"| {len(signature.rows)} | {peak} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else None)
    parser.add_argument("--quick", action="store_true", help="small layers and networks, to try the script")
    parser.add_argument("--output", type=Path, default=HERE / "gpu.md")
    options = parser.parse_args()
    if options.device is None:
        parser.error("no GPU found; expected one, or --device cpu --quick to try the script")
    widths, samples = (QUICK_WIDTHS, QUICK_SAMPLES) if options.quick else (WIDTHS, SAMPLES)
    count, batch = (QUICK_IMAGES, QUICK_BATCH) if options.quick else (IMAGES, BATCH)
    on_gpu = options.device.startswith("cuda")
    device = torch.cuda.get_device_name(options.device) if on_gpu else options.device
    lines = [
        "# On an accelerator",
        "",
        f"{datetime.date.today()}, {device}, torch {torch.__version__}, {os.cpu_count()} cores.",
        f"{samples} random rows a layer; {count} images in batches of {batch}, random as the weights are.",
        "An analysis is the whole of it: passes, capture, all statistics and scores of all activations.",
        "",
    ]
    for part in (
        scores(options.device, widths, samples),
        passes(options.device, options.quick, count, batch),
    ):
        for line in part:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    options.output.write_text("\n".join(lines[:-1]) + "\n")


if __name__ == "__main__":
    main()
