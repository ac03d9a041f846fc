"""What capture costs, as a share of the bare forward pass; writes ``capture.md``, of blocks ``capture_blocks.md``.

    python benchmarks/capture.py [--seconds N] [--threads N] [--level blocks]

ResNet-50 and ViT-B/16 with random weights, batches of 16 in channels-last layout. The variants take turns,
so that what else the machine does falls on all alike, and the fastest pass of each counts. Beside the wall
clock the processor time of all threads is shown, which a busy machine disturbs less. Measured with memory as
the C library hands it out, and kept as an analysis keeps it, which makes the bare pass faster and steadier.
The hooks are on the model already, as they are in an analysis from its first batch on.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, Watched, pool
from hf_affscore.capture.blocks import BlockSelection, selection_of
from hf_affscore.capture.summary import Summarize
from hf_affscore.capture.update import SummarizeBlocks
from hf_affscore.options import Level
from hf_affscore.run.memory import freed_memory_kept

HERE = Path(__file__).parent
BATCH = 16
NUM_SAMPLES = 2048
MODELS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-50": torchvision.models.resnet50,
    "ViT-B/16": torchvision.models.vit_b_16,
}
CONDITIONS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "as it comes": nullcontext,
    "kept": freed_memory_kept,
}


def pooled(tensor: Tensor, site: CallSite) -> Tensor:
    return pool(tensor, "paper", BATCH)


def summary(sparsity_samples: int) -> Summarize:
    """Pooling and sparsity of so many of 2,048 images."""
    summarize = Summarize("paper", num_samples=NUM_SAMPLES, sparsity_samples=sparsity_samples, seed=0)
    measured = summarize._measured
    # A batch with the share of measured images that an average batch has.
    images = sorted(range(NUM_SAMPLES), key=lambda image: (image not in measured, image))
    count = BATCH * sparsity_samples // NUM_SAMPLES
    summarize.start([*images[:count], *images[NUM_SAMPLES - BATCH + count :]])
    return summarize


def of_blocks() -> SummarizeBlocks:
    """Pooling, and the products behind cosine and norm."""
    summarize = SummarizeBlocks("channels", seed=0)
    summarize.start(range(BATCH))
    return summarize


def variants(model: Watched) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    if isinstance(model.selection, BlockSelection):
        return {
            "bare": nullcontext,
            "capture": lambda: Capture(model, lambda tensor, site: None),
            "capture, pooling, cosine and norm (level='blocks')": lambda: Capture(model, of_blocks()),
        }
    return {
        "bare": nullcontext,
        "capture": lambda: Capture(model, lambda tensor, site: None),
        "capture, pooling": lambda: Capture(model, pooled),
        "capture, pooling, sparsity of 128 of 2,048 images (default)": lambda: Capture(model, summary(128)),
        "capture, pooling, sparsity of all images": lambda: Capture(model, summary(NUM_SAMPLES)),
    }


def measure(model: nn.Module, seconds: float, level: Level) -> tuple[int, dict[str, tuple[float, float]]]:
    """Passes of each variant in the time given, one at least, and the fastest wall clock and processor seconds."""
    x = torch.randn(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
    watched = Watched(model, selection_of(model, level))
    best = {name: (float("inf"), float("inf")) for name in variants(watched)}
    with torch.inference_mode():
        model(x)
        passes, start = 0, time.perf_counter()
        while passes == 0 or time.perf_counter() - start < seconds:
            passes += 1
            for name, context in variants(watched).items():
                manager = context()
                with nullcontext() if name == "bare" else watched:
                    wall, cpu = time.perf_counter(), time.process_time()
                    with manager:
                        model(x)
                    spent = time.perf_counter() - wall, time.process_time() - cpu
                best[name] = min(best[name][0], spent[0]), min(best[name][1], spent[1])
    return passes, best


def table(name: str, found: list[tuple[int, dict[str, tuple[float, float]]]]) -> list[str]:
    """A model's part of the page, from what was measured under each condition."""
    bare = []
    for condition, (passes, best) in zip(CONDITIONS, found, strict=True):
        wall, cpu = best["bare"]
        bare.append(f"{wall:.2f} s with memory {condition}, {cpu:.2f} s of processor time (best of {passes})")
    lines = ["", f"## {name}", "", f"Bare forward pass: {'; '.join(bare)}.", ""]
    lines += [f"| on top of it | {' | '.join(f'{c} | processor time' for c in CONDITIONS)} |"]
    lines += ["|" + " --- |" * (1 + 2 * len(CONDITIONS))]
    for variant in list(found[0][1])[1:]:
        shares = [
            f"{spent / base - 1:+.1%}"
            for _, best in found
            for spent, base in zip(best[variant], best["bare"], strict=True)
        ]
        lines.append(f"| {variant} | {' | '.join(shares)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="per model and condition")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--level", choices=get_args(Level), default="activations")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = [
        f"# Cost of capture over the bare forward pass: {arguments.level}",
        "",
        f"{datetime.date.today()}, random weights, batches of {BATCH} images of 224 x 224, channels last; "
        f"{os.cpu_count()} cores, torch {torch.__version__} with {arguments.threads} threads, torchvision "
        f"{torchvision.__version__}, numpy {np.__version__}. Beside other work only processor time says something.",
    ]
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model = build().eval().to(memory_format=torch.channels_last)
        found = []
        for condition in CONDITIONS.values():
            with condition():
                found.append(measure(model, arguments.seconds, arguments.level))
        lines += table(name, found)
    text = "\n".join(lines) + "\n"
    print(text)
    (HERE / ("capture.md" if arguments.level == "activations" else "capture_blocks.md")).write_text(text)


if __name__ == "__main__":
    main()
