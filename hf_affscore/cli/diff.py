"""``diff``: what changed between two signatures of one architecture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_diff(commands: Any) -> None:
    """Add ``diff`` to the commands."""
    command = commands.add_parser(
        "diff",
        help="what changed between two networks of one architecture, beyond noise",
        description="The change of every score from A to B (B - A): before and after fine-tuning, quantisation, "
        "pruning; two checkpoints of a training; trained and random weights.",
    )
    for name, which in (("first", "the signature before"), ("second", "the signature after")):
        command.add_argument(
            name,
            metavar="A" if name == "first" else "B",
            help=f"{which}: its folder, or a collection on the Hub with one signature",
        )
    command.add_argument(
        "--allow-differences", action="store_true", help="compare signatures that were made differently"
    )
    command.add_argument(
        "--output", type=Path, metavar="FOLDER", help="save the difference (.json) and a picture (.png) here"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_diff)


def _run_diff(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_json
    from hf_affscore.comparison.comparison import names_of
    from hf_affscore.comparison.difference import difference
    from hf_affscore.comparison.sources import read_one

    first, second = (read_one(source) for source in (arguments.first, arguments.second))
    one, two = names_of((first, second))
    found = difference(first, second, names=(one, two), allow_differences=arguments.allow_differences)
    if arguments.output:
        from hf_affscore.report.folder import save_difference

        save_difference(found, arguments.output)
    if arguments.json:
        print_json(found.to_dict())
        return
    print(found)
    if arguments.output:
        print(f"figures, picture: {arguments.output}")
