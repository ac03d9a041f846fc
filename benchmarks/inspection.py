"""What ``inspect`` states before an analysis against what the analysis then takes; writes ``inspection.md``.

    python -m benchmarks.inspection

Every setting is a new process that analyses noise with random weights, in one thread. Peak is what the kernel calls
VmHWM: everything resident, libraries included. Seconds are those of the processor, from the moment that the model
is there, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.options import Pooling

if TYPE_CHECKING:
    from hf_affscore.inspection.cost import Cost

HERE = Path(__file__).parent


def mlp(width: int, depth: int) -> Any:
    """A perceptron on images of 32 x 32."""
    from torch import nn

    layers = [nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), nn.ReLU()]
    model = nn.Sequential(*layers)
    model.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}  # type: ignore[assignment]
    return model


def of_timm(name: str, **settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        import timm

        return timm.create_model(name, **settings)

    return make


#: Name -> how to build the model, pooling, images.
SETTINGS: dict[str, tuple[Callable[[], Any], Pooling, int]] = {
    "MobileNetV2": (of_timm("mobilenetv2_100"), "paper", 256),
    "ResNet-50": (of_timm("resnet50"), "paper", 256),
    "ConvNeXt-T": (of_timm("convnext_tiny"), "paper", 256),
    "ResNet-50 512": (of_timm("resnet50"), "paper", 512),
    "ViT-B/16 512": (of_timm("vit_base_patch16_224"), "paper", 512),
    "two blocks of ViT-B/16": (of_timm("vit_base_patch16_224", depth=2), "paper", 512),
    "two blocks of ViT-B/16, channels": (of_timm("vit_base_patch16_224", depth=2), "channels", 512),
    "perceptron of width 2,048": (lambda: mlp(2048, 4), "paper", 2048),
    "MobileNetV2 2,048": (of_timm("mobilenetv2_100"), "paper", 2048),
    "perceptron of width 1,024": (lambda: mlp(1024, 2), "paper", 8192),
    "perceptron of width 64": (lambda: mlp(64, 2), "paper", 8192),
}


def stated(name: str) -> Cost:
    """What a dry run says of a setting."""
    import torch

    import hf_affscore as ha

    build, pooling, count = SETTINGS[name]
    with torch.device("meta"):
        dry = build()
    return ha.inspect(dry, pooling=pooling, num_samples=count).cost


def work(name: str) -> None:
    """Analyse one setting in this process, and print peak memory and seconds."""
    import torch
    import torchvision  # noqa: F401  (what an analysis imports counts as libraries)

    import hf_affscore as ha

    build, pooling, count = SETTINGS[name]
    torch.manual_seed(0)
    model = build()
    start = time.process_time()
    ha.analyze(model, "noise", pooling=pooling, num_samples=count, cache=False, progress=False)
    seconds = time.process_time() - start
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps({"peak": int(peak[1]) * 1024 if peak else 0, "seconds": seconds}))


def measured(name: str) -> dict[str, float]:
    """Peak bytes and processor seconds of a new process that analyses a setting in one thread."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inspection", "--work", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=HERE.parent
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def line(name: str, cost: Cost, taken: dict[str, float]) -> str:
    """A line of the table."""
    memory, peak = cost.memory_bytes / 1e9, taken["peak"] / 1e9
    # Noise needs no decoding.
    seconds, most = ((total or 0.0) - cost.images_seconds for total in (cost.seconds, cost.seconds_at_most))
    return (
        f"| {name} | {cost.num_samples} | {peak:.2f} | {memory:.2f} | {memory / peak:.2f} "
        f"| {taken['seconds']:.0f} | {seconds:.0f} | {most:.0f} | {seconds / taken['seconds']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", help=f"of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    import torch

    torch.set_num_threads(1)
    lines = []
    for name in arguments.settings or SETTINGS:
        lines.append(line(name, stated(name), measured(name)))
        print(lines[-1], flush=True)
    write(lines)


def write(lines: list[str]) -> None:
    """The dated table."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "transformers", "numpy"))
    head = [
        *("# What inspect states against what analyze takes", ""),
        f"{datetime.date.today()}, one thread of {os.cpu_count()} cores, noise, random weights; {packages}.",
        "Seconds are the processor's, without decoding, which noise does not need. Ratios are stated to measured.",
        "At most: if the images make the assignment solver necessary for all layers of less than 256 features;",
        "stated: if for those of up to 32, and for one in ten of the others.",
        "",
        "| network | images | peak, GB | stated | ratio | seconds | stated | at most | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    (HERE / "inspection.md").write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
