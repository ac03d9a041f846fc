"""``hf-affscore compare``, ``report`` and ``space``: their words; what they do is in the parts they call."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison


def add_comparison(commands: Any) -> None:
    """Add ``compare``, ``report`` and ``space push`` to the commands of the command line."""
    _add_compare(commands)
    _add_report(commands)
    _add_space(commands)


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="networks against each other by their signatures",
        description="Distances between signatures, families, statistics and correlations.",
        allow_abbrev=False,
    )
    _add_sources(command)
    command.add_argument(
        "--output", type=Path, metavar="FOLDER", help="save figures, tables and pictures here"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_compare)


def _add_report(commands: Any) -> None:
    command = commands.add_parser(
        "report",
        help="one interactive page about many networks, for any browser, offline",
        description="Write one self-contained HTML file with signatures, alignments and distances to explore.",
        allow_abbrev=False,
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


def _add_space(commands: Any) -> None:
    command = commands.add_parser(
        "space",
        help="a gallery of your signatures, as a Space on the Hub",
        description="Publish the gallery: a page that shows a collection of signatures to everybody.",
        allow_abbrev=False,
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    push = actions.add_parser(
        "push",
        help="push the gallery to a Space of yours",
        description="Push the gallery to a Space, in one commit.",
        allow_abbrev=False,
    )
    push.add_argument("space", metavar="SPACE", help="the Space, made if missing: user/gallery")
    push.add_argument(
        "--signatures", required=True, metavar="REPO", help="the collection it shows first: user/signatures"
    )
    push.add_argument("--private", action=argparse.BooleanOptionalAction, help="if it is made: private")
    push.add_argument("--token", help="access token for the Hub; default: the one you logged in with")
    push.set_defaults(run=_run_space_push)


def _run_compare(arguments: argparse.Namespace) -> None:
    from hf_affscore.tables import print_comparison

    comparison = _compared(arguments)
    if arguments.output:
        comparison.save(arguments.output)
    if arguments.json:
        print(json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    print_comparison(comparison)
    if arguments.output:
        print(f"figures, tables, pictures: {arguments.output}")


def _run_report(arguments: argparse.Namespace) -> None:
    from hf_affscore.report import write_report

    print(f"report: {write_report(_compared(arguments), arguments.output)}")


def _compared(arguments: argparse.Namespace) -> Comparison:
    from hf_affscore.comparison import compare
    from hf_affscore.comparison.sources import read_published

    published = read_published(arguments.published) if arguments.published else None
    return compare(arguments.sources, published=published, allow_differences=arguments.allow_differences)


def _run_space_push(arguments: argparse.Namespace) -> None:
    from hf_affscore.spaces.push import push_gallery

    print(
        push_gallery(arguments.space, arguments.signatures, private=arguments.private, token=arguments.token)
    )
