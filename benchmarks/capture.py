"""What capture costs, as a share of the bare forward pass.

    python benchmarks/capture.py [--repeats N] [--threads N]

ResNet-50 and ViT-B/16 with random weights, batches of 16 in channels-last layout. The variants take turns,
so that what else the machine does falls on all alike, and the fastest pass of each counts. Beside the wall
clock the processor time of all threads is shown, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torchvision
from torch import Tensor, nn

from hf_affscore.capture import Capture, Site, pool
from hf_affscore.capture.summary import Summarize

BATCH = 16
NUM_SAMPLES = 2048
MODELS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-50": torchvision.models.resnet50,
    "ViT-B/16": torchvision.models.vit_b_16,
}


def pooled(tensor: Tensor, site: Site) -> Tensor:
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


def variants(model: nn.Module) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    return {
        "bare": nullcontext,
        "capture": lambda: Capture(model, lambda tensor, site: None),
        "capture, pooling": lambda: Capture(model, pooled),
        "capture, pooling, sparsity of 128 of 2,048 images (default)": lambda: Capture(model, summary(128)),
        "capture, pooling, sparsity of all images": lambda: Capture(model, summary(NUM_SAMPLES)),
    }


def measure(model: nn.Module, repeats: int) -> dict[str, tuple[float, float]]:
    """Fastest wall clock and processor seconds of each variant."""
    x = torch.randn(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
    best = {name: (float("inf"), float("inf")) for name in variants(model)}
    with torch.inference_mode():
        model(x)
        for _ in range(repeats):
            for name, context in variants(model).items():
                manager = context()
                wall, cpu = time.perf_counter(), time.process_time()
                with manager:
                    model(x)
                spent = time.perf_counter() - wall, time.process_time() - cpu
                best[name] = min(best[name][0], spent[0]), min(best[name][1], spent[1])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} threads, batch {BATCH}\n")
    for name, build in MODELS.items():
        torch.manual_seed(0)
        best = measure(build().eval().to(memory_format=torch.channels_last), arguments.repeats)
        wall, cpu = best.pop("bare")
        print(f"{name}: bare forward pass {wall:.2f} s, {cpu:.2f} s of processor time")
        for variant, spent in best.items():
            print(f"  {variant}: {spent[0] / wall - 1:+.1%}, processor time {spent[1] / cpu - 1:+.1%}")


if __name__ == "__main__":
    main()
