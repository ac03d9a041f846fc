"""The command of an example: run it, and leave its values and its picture in one folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Values = dict[str, Any]


def perform(
    description: str,
    *,
    folder: str,
    picture: str,
    run: Callable[[Path], Values],
    draw: Callable[[Values, Path], object],
) -> Values:
    """Read ``--output`` from the command line, run, and write ``values.json`` and the picture into it.

    Args:
        description: What ``--help`` says.
        folder: Default of ``--output``; made if missing.
        picture: Name of the picture in it.
        run: Gives the values; may leave more in the folder that it gets.
        draw: Draws the values into the file that it gets.

    Returns:
        The values, to print what matters of them.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path(folder), help="default: %(default)s")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums over threads could differ in their last bit
    torch.use_deterministic_algorithms(True)
    values = run(output)
    (output / "values.json").write_text(json.dumps(values, indent=2) + "\n")
    draw(values, output / picture)
    return values
