"""``docs/paper.md``: what stands in it between two marks is written from the JSON files, never by hand."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from examples.paper.common import DOCS, FOLDER, Values
from examples.paper.figures import FIGURES

PAGE = DOCS / "paper.md"
EXPERIMENTS = (
    "polynomials",
    "activation_functions",
    "input_range",
    "redshift",
    "residual",
    "robustness",
    "companions",
    "trained_or_random",
    "inputs",
    "through_time",
)
_MARKED = re.compile(
    r"(?P<mark><!-- (?P<name>\w+): written by python -m examples.paper --docs -->\n).*?(?=<!-- end -->)",
    re.DOTALL,
)


def module(name: str) -> Any:
    """The module of an experiment."""
    return importlib.import_module(f"examples.paper.{name}")


def written(page: str, folder: Path = FOLDER) -> str:
    """The page with every marked passage as the JSON files in ``folder`` have it.

    Raises:
        FileNotFoundError: An experiment has not been run yet.
        KeyError: A mark names no experiment.
    """
    documents = {name: json.loads((folder / f"{name}.json").read_text()) for name in EXPERIMENTS}
    passages = {name: passage(name, document) for name, document in documents.items()}
    passages["figures"] = figures({name: document["values"] for name, document in documents.items()})

    return _MARKED.sub(lambda found: f"{found['mark']}\n{passages[found['name']]}\n", page)


def passage(name: str, document: Values) -> str:
    """The table of an experiment, and what it was measured with."""
    conditions = document["conditions"]
    versions = ", ".join(f"{library} {conditions[library]}" for library in ("torch", "numpy", "scipy"))
    threads = "one thread" if conditions["threads"] == 1 else f"{conditions['threads']} threads"
    measured = (
        f"*{conditions['date']}, {conditions['cpu_seconds']} s of processor time on {threads}, {versions}.*"
    )
    return f"{module(name).markdown(document['values'])}\n{measured}\n"


def figures(documents: dict[str, Values]) -> str:
    """One line per result of the paper."""
    header = ["result", "reproduced here", "value there", "value here", "command", "what is missing, and why"]
    lines = [header, [":--"] * len(header)]
    for figure in FIGURES:
        lines.append(
            [
                figure.shows,
                figure.reproduced,
                figure.there,
                figure.here(documents),
                figure.command,
                figure.missing,
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
