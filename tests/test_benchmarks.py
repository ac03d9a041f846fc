"""The benchmark for accelerators runs where there is none, so that it can be relied on where one is at hand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.accelerator import KIND, accelerator

ROOT = Path(__file__).parent.parent


@pytest.fixture
def gpu(monkeypatch):
    """The script, by its path: other libraries may have installed a package of the name of its folder."""
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu", module)
    spec.loader.exec_module(module)
    return module


def cells(page):
    """The first cells of all lines of its tables."""
    lines = [line.split("|") for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:-1]] for line in lines if "--" not in line[1]]


@pytest.mark.slow
def test_the_benchmark_for_accelerators_runs_on_a_cpu(tmp_path):
    page = tmp_path / "gpu.md"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--output", page]
    subprocess.run(command, cwd=ROOT, check=True)
    first = [line[0] for line in cells(page)]
    assert first[:5] == ["layer", *(f"ReLU, {d} features" for d in (16, 40, 100)), "saturated, 16 features"]
    assert "`affinity_score_shrunk`" in first[5:-7]
    assert first[-7:] == ["network", *["small ResNet"] * 3, *["small ViT"] * 3]
    apart = [line[1] for line in cells(page) if line[0].startswith("`")]
    assert set(apart) == {"0.0e+00"}  # one and the same road on a CPU


@pytest.mark.slow
def test_it_measures_an_accelerator(gpu, tmp_path):
    with accelerator() as noted:
        assert gpu.main(["--device", KIND, "--quick", "--output", str(tmp_path / "gpu.md")]) == 0
        assert {"_linalg_eigh", "convolution"} <= set(noted.operations[f"{KIND}:0"])
    apart = [float(line[1]) for line in cells(tmp_path / "gpu.md") if line[0].startswith("`")]
    assert 0 < max(apart) < 0.01


def test_a_score_that_is_not_the_cpus_is_told(gpu, tmp_path, monkeypatch, capsys):
    def record(before, after):
        wrong = 0.0 if isinstance(before, np.ndarray) else 2e-9
        return {**dict.fromkeys(gpu.SCORES, 0.5), "affinity_score": 0.5 + wrong, "r2": wrong}

    monkeypatch.setattr(gpu, "record", record)
    monkeypatch.setattr(gpu, "LATEST", 1e6)
    monkeypatch.setattr(gpu, "passes", lambda *arguments: iter(()))
    with accelerator():
        assert gpu.main(["--device", KIND, "--quick", "--output", str(tmp_path / "gpu.md")]) == 1
    assert "from the CPU: affinity_score\n" in capsys.readouterr().err
    assert ["`affinity_score`", "2.0e-09"] in cells(tmp_path / "gpu.md")


def test_a_score_that_only_one_of_them_has_is_told(gpu):
    nothing = {"affinity_score": float("nan"), "reason": None, "effects": ()}
    assert gpu.differences(nothing, nothing) == {"affinity_score": 0.0, "reason": 0.0}
    assert gpu.differences(nothing, {**nothing, "affinity_score": 0.5})["affinity_score"] == np.inf


def test_nothing_begins_when_the_time_is_over(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "LATEST", -1)
    assert gpu.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "gpu.md")]) == 0
    assert [line[1] for line in cells(tmp_path / "gpu.md") if line[0][:4] in ("ReLU", "smal")] == [
        "left out: out of time"
    ] * 5
