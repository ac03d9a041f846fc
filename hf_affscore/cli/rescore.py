"""``rescore``: the signature of kept rows under other options, without a forward pass."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hf_affscore.cli.outputs import add_outputs, check_outputs, deliver


def add_rescore(commands: Any) -> None:
    """Add ``rescore`` to the commands."""
    command = commands.add_parser(
        "rescore",
        help="the signature of kept rows under other options, without a forward pass",
        description="Score the rows that `analyze --keep-rows FOLDER` has written again. Options that are left out "
        "stay as they were in the analysis.",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of the rows")
    command.add_argument(
        "--regularization",
        type=_ridge,
        metavar="R",
        help='ridge added to both covariances; "relative": in units of their mean variance',
    )
    command.add_argument(
        "--shrinkage",
        action=argparse.BooleanOptionalAction,
        help="add the score with Ledoit-Wolf covariances",
    )
    command.add_argument(
        "--num-groups", type=int, metavar="N", help="also score this many disjoint parts of the samples"
    )
    command.add_argument(
        "--samples", type=_part, metavar="START:STOP", help="use these rows only, such as :512 or 512:1024"
    )
    add_outputs(command, output=None)
    command.set_defaults(run=_run_rescore)


def _run_rescore(arguments: argparse.Namespace) -> None:
    from hf_affscore.run.kept import load_rows

    check_outputs(arguments)
    signature = load_rows(arguments.folder).rescore(
        regularization=arguments.regularization,
        shrinkage=arguments.shrinkage,
        num_groups=arguments.num_groups,
        samples=arguments.samples,
    )
    deliver(signature, arguments)


def _ridge(text: str) -> float | str:
    """A ridge as it is typed."""
    try:
        return text if text == "relative" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number or relative, received {text!r}") from None


def _part(text: str) -> slice:
    """A part of the rows as it is typed."""
    try:
        start, stop = (int(end) if end else None for end in text.split(":"))
        return slice(start, stop)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected START:STOP, received {text!r}") from None
