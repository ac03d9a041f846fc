"""Commands that build distributions, and try them, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a build leaves in a checkout, and what tests and people leave there.
LEFT_OVER = shutil.ignore_patterns(
    ".*", "build", "dist", "site", "*.egg-info", "__pycache__", "affscore-*", "*.npz", "*.whl"
)


#: The date of every file in a distribution, in seconds since 1970, so that two builds have the same bytes.
DATE = "1700000000"


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["SOURCE_DATE_EPOCH"] = DATE
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
