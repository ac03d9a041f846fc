"""The benchmark for accelerators runs where there is none, so that it can be relied on where one is at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_benchmark_for_accelerators_runs_on_a_cpu(tmp_path):
    table = tmp_path / "gpu.md"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--output", table]
    subprocess.run(command, cwd=ROOT, check=True)
    lines = [line.split("|") for line in table.read_text().splitlines() if line.startswith("| ")]
    assert [line[1].strip() for line in lines if "--" not in line[1]] == [
        *("features", "16", "64"),
        *("network", "small ResNet", "small ResNet", "small ViT", "small ViT"),
    ]
    assert all(float(line[4]) == 0 for line in lines[2:4])  # one and the same road on a CPU
