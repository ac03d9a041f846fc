"""The commands for Hugging Face Jobs, as the client itself reads them; none is sent."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

HF = Path(sys.executable).parent / "hf"
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
COMMANDS = [
    command.replace("\\\n", "") for command in re.findall(r"```bash\n(hf jobs .*?)```", PAGE, re.DOTALL)
]


def read_by_the_client(command: str, home: Path) -> str:
    """What ``hf jobs uv run --dry-run`` says it would send."""
    pytest.importorskip("huggingface_hub.cli._uv_script_header", reason="this client knows no [tool.hf-jobs]")
    words = shlex.split(command)
    settings = {
        "HOME": str(home),
        "HF_TOKEN": "hf_x",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, str(HF), *words[1:4], "--dry-run", *words[4:]],
        cwd=ROOT,
        env={**settings, "HF_HUB_DISABLE_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_script_says_what_it_needs_itself(tmp_path: Path) -> None:
    said = read_by_the_client(COMMANDS[0], tmp_path)
    assert re.search(r"script +examples/hf_job.py\n", said)
    for name, value in {"flavor": "a10g-small", "timeout": "2h", "secrets": r"HF_TOKEN=\*\*\*"}.items():
        assert re.search(rf"{name} +{value} \(from script\)", said)


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_one_line_is_enough(command: str, tmp_path: Path) -> None:
    said = read_by_the_client(command, tmp_path)
    assert re.search(r"args +analyze MODEL --dataset DATASET --push-to-hub user/signatures\n", said)
    assert re.search(r"with +hf-affscore\[plots\]\n", said)
    assert (
        ("HF_AFFSCORE_CACHE=/cache" in said)
        == ("hf://buckets/user/cache:/cache" in said)
        == ("--env" in command)
    )


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 3
