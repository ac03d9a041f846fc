"""The ``hf-affscore`` command: parse, call one function, print.

Data goes to stdout, progress and messages to stderr. The options of ``analyze`` come from
:class:`hf_affscore.options.Options`; nothing is spelt out twice.
"""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import json
import shlex
import sys
import types
import typing
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from hf_affscore import __version__
from hf_affscore.errors import AffscoreError, AffscoreWarning, HubError
from hf_affscore.metrics.command import add_metric
from hf_affscore.options import Options

if TYPE_CHECKING:
    from hf_affscore.signature import Signature

#: The options that say what is listed, and what it would cost.
INSPECT_OPTIONS = (
    *("num_samples", "pooling", "include", "exclude"),
    *("revision", "trust_remote_code", "token"),
)
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
    _add_push(commands)
    _add_card(commands)
    add_metric(commands)


    _add_inspect(commands)
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
    command.add_argument(
        "--push-to-hub", metavar="REPO", help="add the signature to this data set repository on the Hub"
    )
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


def _add_push(commands: Any) -> None:
    command = commands.add_parser(
        "push",
        help="add a saved signature to a data set repository on the Hub",
        description="Add a saved signature to a collection on the Hub, in one commit; the same again is none.",
        allow_abbrev=False,
    )
    _add_target(command, "REPO", "data set repository, made if missing: user/signatures")
    command.add_argument("--private", action=argparse.BooleanOptionalAction, help="if it is made: private")
    command.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    command.set_defaults(run=_run_push)


def _add_card(commands: Any) -> None:
    command = commands.add_parser(
        "card",
        help="show a saved signature in the model's card on the Hub",
        description="Put picture, table and meaning into a section of the model's card; the rest of it stays.",
        allow_abbrev=False,
    )
    _add_target(command, "MODEL", "model repository on the Hub")
    command.add_argument(
        "--create-pr",
        action=argparse.BooleanOptionalAction,
        help="open a pull request; default: unless the model is yours",
    )
    command.add_argument(
        "--model-index", action="store_true", help="add the median to the card's model-index"
    )
    command.add_argument("--dry-run", action="store_true", help="change nothing, print the difference")
    command.set_defaults(run=_run_card)


def _add_target(command: argparse.ArgumentParser, metavar: str, help: str) -> None:
    """What every command that writes to the Hub takes."""
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where analyze --output saved the signature"
    )
    command.add_argument("repo_id", metavar=metavar, help=help)
    command.add_argument("--token", help="access token for the Hub; default: the one you logged in with")
    command.add_argument("--revision", help="branch to commit to (default: main)")
    command.add_argument("--commit-message", metavar="TEXT", help="first line of the commit")


def _add_inspect(commands: Any) -> None:
    command = commands.add_parser(
        "inspect",
        help="the activations of a checkpoint, without downloading its weights",
        description="List what analyze would score and what not, with shapes, and what it would cost.",
        allow_abbrev=False,
    )
    command.add_argument("model", metavar="MODEL", help="Hub id or local folder of an image model")
    _add_options(command, INSPECT_OPTIONS)
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_inspect)


def _add_outputs(command: argparse.ArgumentParser, output: str | None) -> None:
    default = f" (default: {output})" if output else ""
    command.add_argument(
        "--output", type=Path, default=output, metavar="FOLDER", help=f"save the signature here{default}"
    )
    command.add_argument("--plot", type=Path, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _add_options(command: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """One command-line option for each field of :class:`Options`, or for those named."""
    hints = typing.get_type_hints(Options)
    for option in dataclasses.fields(Options):
        if names is not None and option.name not in names:
            continue
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
    if arguments.push_to_hub and not arguments.output:
        arguments.output = _folder_for(signature)  # a push can fail; the analysis must not go with it
    _deliver(signature, arguments)
    if arguments.push_to_hub:
        _push(signature, arguments)


def _run_inspect(arguments: argparse.Namespace) -> None:
    from hf_affscore.run.inspection import inspect
    from hf_affscore.tables import print_inspection

    options = {name: getattr(arguments, name) for name in INSPECT_OPTIONS}
    inspection = inspect(arguments.model, **options)
    if arguments.json:
        print(json.dumps(inspection.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_inspection(inspection)


def _run_demo(arguments: argparse.Namespace) -> None:
    from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
    from hf_affscore.run.analyze import analyze

    signature = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512)
    arguments.plot = arguments.plot or arguments.output / "signature.png"
    _deliver(signature, arguments)
    if not arguments.json:
        print("\nNext, a checkpoint and images of your own:")
        print("  hf-affscore analyze microsoft/resnet-18 --dataset FOLDER_WITH_IMAGES --output signature")


def _run_push(arguments: argparse.Namespace) -> None:
    from hf_affscore.signature import Signature

    commit = Signature.from_pretrained(arguments.folder).push_to_hub(
        arguments.repo_id,
        private=arguments.private,
        token=arguments.token,
        revision=arguments.revision,
        create_pr=arguments.create_pr,
        commit_message=arguments.commit_message,
    )
    print(commit.pr_url or commit.commit_url)


def _run_card(arguments: argparse.Namespace) -> None:
    from hf_affscore.publish import update_model_card
    from hf_affscore.signature import Signature

    update = update_model_card(
        Signature.from_pretrained(arguments.folder),
        arguments.repo_id,
        create_pr=arguments.create_pr,
        with_model_index=arguments.model_index,
        dry_run=arguments.dry_run,
        token=arguments.token,
        revision=arguments.revision,
        commit_message=arguments.commit_message,
    )
    print(update.diff if arguments.dry_run else update.url)


def _folder_for(signature: Signature) -> Path:
    from hf_affscore.publish.index import Entry

    return Path(f"affscore-{Path(Entry.of(signature).folder).name}")


def _push(signature: Signature, arguments: argparse.Namespace) -> None:
    """Publish a signature that has been saved; where that fails, say how to go on from there."""
    try:
        commit = signature.push_to_hub(arguments.push_to_hub, token=arguments.token)
    except AffscoreError as error:
        again = f"hf-affscore push {shlex.quote(str(arguments.output))} {arguments.push_to_hub}"
        raise HubError(
            f"{error}\nThe signature is safe in {arguments.output}. Publish it with `{again}`."
        ) from error
    print(f"published: {commit.commit_url}", file=sys.stderr if arguments.json else sys.stdout)


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
