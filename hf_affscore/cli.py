"""The ``hf-affscore`` command: parse, call one function, print.

Data goes to stdout, progress and messages to stderr. The options of ``analyze`` come from
:class:`hf_affscore.options.Options`; nothing is spelt out twice.
"""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import json
import sys
import types
import typing
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from hf_affscore import __version__
from hf_affscore.errors import AffscoreError, AffscoreWarning
from hf_affscore.options import Options

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison
    from hf_affscore.signature import Signature

DEMO_FOLDER = "affscore-demo"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed with a message, 2 wrong usage, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    _show_warnings_as_sentences()
    try:
        arguments.run(arguments)
    except AffscoreError as error:
        sys.exit(f"hf-affscore: error: {error}")
    except KeyboardInterrupt:
        print("hf-affscore: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hf-affscore",
        description="How non-linear a vision network really is: the affinity score of each of its activations.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_analyze(commands)
    _add_demo(commands)
    _add_compare(commands)
    _add_report(commands)
    return parser


def _add_analyze(commands: Any) -> None:
    command = commands.add_parser(
        "analyze",
        help="the signature of a checkpoint on a data set",
        description="Run images through a checkpoint and score every activation.",
        allow_abbrev=False,
    )
    command.add_argument("model", metavar="MODEL", help="Hub id or local folder of an image model")
    command.add_argument(
        "--dataset", required=True, metavar="DATASET", help='Hub id, local folder of images, or "noise"'
    )
    _add_options(command)
    _add_outputs(command, output=None)
    command.set_defaults(run=_run_analyze)


def _add_demo(commands: Any) -> None:
    command = commands.add_parser(
        "demo",
        help="the signature of an embedded network on embedded images: no network access needed",
        description="Analyse a small residual network that comes with the package on real handwritten digits.",
        allow_abbrev=False,
    )
    _add_outputs(command, output=DEMO_FOLDER)
    command.set_defaults(run=_run_demo)


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
    command.add_argument("sources", nargs="+", metavar="SIGNATURES", help="folder of a signature, or of many")
    command.add_argument(
        "--published",
        type=Path,
        metavar="FILE",
        help="CSV table of what is known about the networks: name, then year, accuracy, num_parameters, ...",
    )
    command.add_argument(
        "--allow-differences", action="store_true", help="compare signatures that were made differently"
    )


def _add_outputs(command: argparse.ArgumentParser, output: str | None) -> None:
    default = f" (default: {output})" if output else ""
    command.add_argument(
        "--output", type=Path, default=output, metavar="FOLDER", help=f"save the signature here{default}"
    )
    command.add_argument("--plot", type=Path, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _add_options(command: argparse.ArgumentParser) -> None:
    """One command-line option for each field of :class:`Options`."""
    hints = typing.get_type_hints(Options)
    for option in dataclasses.fields(Options):
        flag = "--" + option.name.replace("_", "-")
        text = option.metadata["help"]
        kind = _value_type(hints[option.name])
        if kind is bool:
            command.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=option.default, help=text
            )
            continue
        if typing.get_origin(kind) is collections.abc.Sequence:
            metavar = option.metadata["metavar"]
            command.add_argument(flag, nargs="+", default=option.default, metavar=metavar, help=text)
            continue
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else None
        shown = "" if option.default is None else f" (default: {option.default})"
        command.add_argument(
            flag,
            type=str if choices else kind,
            choices=choices,
            default=option.default,
            metavar=None if choices else option.metadata["metavar"],
            help=text + shown,
        )


def _value_type(hint: Any) -> Any:
    """What one word on the command line is read as.

    ``int | None`` is an int, ``str | bool`` a str, and ``int | Literal["all"]`` an int or that word.
    """
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    kind, *others = (part for part in typing.get_args(hint) if part is not type(None))
    words = [word for part in others if typing.get_origin(part) is Literal for word in typing.get_args(part)]
    if not words:
        return kind

    def number_or_word(text: str) -> Any:
        return text if text in words else kind(text)

    number_or_word.__name__ = (
        f"{kind.__name__} or {' or '.join(words)}"  # argparse shows it: "invalid ... value"
    )
    return number_or_word


def _run_analyze(arguments: argparse.Namespace) -> None:
    from hf_affscore.run.analyze import analyze

    options = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Options)}
    signature = analyze(arguments.model, arguments.dataset, **options)
    _deliver(signature, arguments)


def _run_demo(arguments: argparse.Namespace) -> None:
    from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
    from hf_affscore.run.analyze import analyze

    signature = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512)
    arguments.plot = arguments.plot or arguments.output / "signature.png"
    _deliver(signature, arguments)
    if not arguments.json:
        print("\nNext, a checkpoint and images of your own:")
        print("  hf-affscore analyze microsoft/resnet-18 --dataset FOLDER_WITH_IMAGES --output signature")


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


def _deliver(signature: Signature, arguments: argparse.Namespace) -> None:
    """Save what was asked for, then print: files come first, so that a closed pipe loses nothing."""
    saved = []
    if arguments.output:
        saved.append(f"signature: {signature.save_pretrained(arguments.output)}")
    if arguments.plot:
        signature.plot(arguments.plot)
        saved.append(f"picture:   {arguments.plot}")
    if arguments.json:
        print(json.dumps(signature.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    from hf_affscore.tables import print_signature

    print_signature(signature)
    print(*saved, sep="\n")


def _show_warnings_as_sentences() -> None:
    """Print this package's warnings without the source line that Python adds; leave others as they are."""
    usual: Callable[..., None] = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, AffscoreWarning):
            print(f"hf-affscore: warning: {message}", file=sys.stderr)
        else:
            usual(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]  # it passes on whatever it gets


if __name__ == "__main__":
    main()
