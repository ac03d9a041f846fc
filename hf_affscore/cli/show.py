"""``show``: a saved signature as a table and as a picture."""

from __future__ import annotations

import argparse
from typing import Any

from hf_affscore.cli.outputs import add_picture, draw


def add_show(commands: Any) -> None:
    """Add ``show`` to the commands."""
    command = commands.add_parser(
        "show",
        help="a saved signature as a table, and as a picture",
        description="Print a saved signature, and draw it again.",
        allow_abbrev=False,
    )
    command.add_argument(
        "source",
        metavar="SIGNATURE",
        help="the folder of a signature, or a collection on the Hub with one signature",
    )
    add_picture(command)
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_show)


def _run_show(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_json
    from hf_affscore.comparison.sources import read_one
    from hf_affscore.errors import InputError

    if arguments.reference and not arguments.plot:
        raise InputError("--reference is about a picture; say with --plot FILE where it goes.")
    signature = read_one(arguments.source)
    drawn = draw(signature, arguments.plot, reference=arguments.reference) if arguments.plot else None
    if arguments.json:
        print_json(signature.to_dict())
        return
    print(signature)
    if drawn:
        print(drawn)
