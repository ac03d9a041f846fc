"""What is left of memory: the machine's, that of control groups, that of a limited address space."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hf_affscore import machine


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    for path, limit, used in (("job", "4000", "1000"), ("job/step", "max", "900"), (".", "max", "5")):
        folder = tmp_path / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 700\ninactive_file 300\n")
    assert machine._left_in_groups(tmp_path / "cgroup", tmp_path) == [3300]


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/job\n4:memory:/host/path/not/here\n0::/\n")
    root = tmp_path / "memory"
    root.mkdir()
    (root / "memory.limit_in_bytes").write_text("2000")
    (root / "memory.usage_in_bytes").write_text("1500")
    (root / "memory.stat").write_text("total_inactive_file 100\n")
    assert machine._left_in_groups(tmp_path / "cgroup", tmp_path) == [600]


def test_elsewhere_there_are_none(tmp_path: Path) -> None:
    assert machine._left_in_groups(tmp_path / "nothing", tmp_path) == []


def test_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < machine.available_bytes() <= psutil.virtual_memory().total
    monkeypatch.setattr(machine, "_left_in_groups", lambda: [7, 5])
    assert machine.available_bytes() == 5
    monkeypatch.setattr(machine, "_left_in_groups", lambda: [-3])
    assert machine.available_bytes() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind are Linux's")
def test_a_limited_address_space_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); "
        "from hf_affscore.machine import available_bytes; print(available_bytes() < 2**30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
