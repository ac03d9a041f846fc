"""``compare`` and ``report``: networks against each other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import InputError

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison


def add_compare(commands: Any) -> None:
    """Add ``compare`` to the commands."""
    command = commands.add_parser(
        "compare",
        help="networks against each other by their signatures",
        description="Distances between signatures, families, statistics and correlations.",
    )
    _add_sources(command)
    command.add_argument(
        "--family",
        action="append",
        default=[],
        metavar="NAME=PATTERN",
        help="colour networks whose names match PATTERN (as in a shell) as one family, may be repeated; "
        "default: by architecture",
    )
    command.add_argument(
        "--output", type=Path, metavar="FOLDER", help="save figures, tables and pictures here"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_compare)


def add_report(commands: Any) -> None:
    """Add ``report`` to the commands."""
    command = commands.add_parser(
        "report",
        help="one interactive page about many networks, for any browser, offline",
        description="Write one self-contained HTML file with signatures, alignments and distances to explore.",
    )
    _add_sources(command)
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the page to write (.html)"
    )
    command.set_defaults(run=_run_report)


def _add_sources(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "sources",
        nargs="+",
        metavar="SIGNATURES",
        help="folder of a signature or of many, or a collection on the Hub: user/signatures",
    )
    command.add_argument(
        "--published",
        type=Path,
        metavar="FILE",
        help="CSV table of what is known about the networks: name, then year, accuracy, num_parameters, ...",
    )
    command.add_argument(
        "--allow-differences", action="store_true", help="compare signatures that were made differently"
    )


def _run_compare(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_json

    comparison = _compared(arguments)
    if arguments.output:
        from hf_affscore.report.folder import save_comparison

        save_comparison(comparison, arguments.output)
    if arguments.json:
        print_json(comparison.to_dict())
        return
    print(comparison)
    if arguments.output:
        print(f"figures, tables, pictures: {arguments.output}")


def _run_report(arguments: argparse.Namespace) -> None:
    from hf_affscore.report import write_report

    print(f"report: {write_report(_compared(arguments), arguments.output)}")


def _compared(arguments: argparse.Namespace) -> Comparison:
    from hf_affscore.comparison import compare
    from hf_affscore.comparison.sources import read_published

    published = read_published(arguments.published) if arguments.published else None
    return compare(
        arguments.sources,
        published=published,
        families=dict(map(_family, getattr(arguments, "family", []))),
        allow_differences=arguments.allow_differences,
    )


def _family(text: str) -> tuple[str, str]:
    """A family and its pattern of names."""
    name, sign, pattern = text.partition("=")
    if not (name and sign and pattern):
        raise InputError(f"--family is {text!r}; expected NAME=PATTERN, such as 'ResNet=*/resnet*'.")
    return name, pattern
