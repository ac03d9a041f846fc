"""``analyze``, ``demo`` and ``inspect``, which run a model, and ``cache``, for what they leave on disk."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.cli.arguments import add_options, add_processor
from hf_affscore.cli.outputs import add_outputs, check_outputs, deliver, save
from hf_affscore.errors import AffscoreError, HubError, InputError, ModelError
from hf_affscore.options import Options

if TYPE_CHECKING:
    from hf_affscore.run.many import Outcome
    from hf_affscore.signature import Signature

DEMO_FOLDER = "affscore-demo"

#: The options of ``inspect``: those that change which activations are listed, or their cost.
INSPECT_OPTIONS = (
    *("num_samples", "pooling", "level", "include", "exclude"),
    *("loader", "revision", "trust_remote_code", "token"),
)


def add_analyze(commands: Any) -> None:
    """Add ``analyze`` to the commands."""
    command = commands.add_parser(
        "analyze",
        help="the signature of a checkpoint, or of many, on a data set",
        usage="%(prog)s MODEL [MODEL ...] --dataset DATASET [OPTIONS]",  # --include takes all words after it
        description="Run images through a checkpoint and score every activation.",
    )
    command.add_argument(
        "models", nargs="+", metavar="MODEL", help="Hub id or local folder of an image model, or several"
    )
    command.add_argument(
        "--dataset",
        required=True,
        metavar="DATASET",
        help='Hub id, local folder, file or pattern of files, or "noise"',
    )
    add_processor(command)
    add_options(command)
    add_outputs(command, output=None)
    command.add_argument(
        "--push-to-hub", metavar="REPO", help="publish the signature in this data set repository afterwards"
    )
    command.add_argument("--quiet", action="store_true", help="neither progress nor warnings on stderr")
    command.set_defaults(run=_run_analyze)


def add_demo(commands: Any) -> None:
    """Add ``demo`` to the commands."""
    command = commands.add_parser(
        "demo",
        help="the signature of an embedded network on embedded images: no network access needed",
        description="Analyse a small residual network that comes with the package on real handwritten digits.",
    )
    add_outputs(command, output=DEMO_FOLDER)
    command.set_defaults(run=_run_demo)


def add_inspect(commands: Any) -> None:
    """Add ``inspect`` to the commands."""
    command = commands.add_parser(
        "inspect",
        help="the activations of a checkpoint, without downloading its weights",
        usage="%(prog)s MODEL [OPTIONS]",
        description="List what analyze would score and what not, with shapes, and what it would cost.",
    )
    command.add_argument("model", metavar="MODEL", help="Hub id or local folder of an image model")
    add_processor(command)
    add_options(command, INSPECT_OPTIONS)
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    command.set_defaults(run=_run_inspect)


def add_cache(commands: Any) -> None:
    """Add ``cache ls`` and ``cache rm`` to the commands."""
    command = commands.add_parser("cache", help="finished and interrupted analyses on disk")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("ls", help="list the analyses")
    listing.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    listing.set_defaults(run=_run_cache_ls)
    removal = actions.add_parser("rm", help="remove some analyses, or all")
    which = removal.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "keys",
        nargs="*",
        default=[],
        metavar="KEY",
        help="as `cache ls` shows them; the first characters are enough",
    )
    which.add_argument("--all", action="store_true", help="every analysis")
    removal.set_defaults(run=_run_cache_rm)


def _run_analyze(arguments: argparse.Namespace) -> None:
    options = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Options)}
    options["progress"] = options["progress"] and not arguments.quiet
    check_outputs(arguments)
    if arguments.level == "blocks" and (arguments.push_to_hub or arguments.reference):
        wrong = "--push-to-hub" if arguments.push_to_hub else "--reference"
        raise InputError(
            f"{wrong} needs affinity scores, which blocks (--level blocks) have none of. Leave it out."
        )
    if len(arguments.models) > 1:
        _run_many(arguments, options)
        return
    from hf_affscore.run.analyze import analyze

    signature = analyze(arguments.models[0], arguments.dataset, processor=arguments.processor, **options)
    if not _goes_on_alone():
        return
    if arguments.push_to_hub and not arguments.output:
        arguments.output = _folder_for(signature)  # a push can fail; the analysis must not be lost with it
    deliver(signature, arguments)
    if arguments.push_to_hub:
        _push(signature, arguments.output, arguments)


def _run_many(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    """Analyse several models, each saved in a folder of its own; fail at the end if any has failed."""
    from hf_affscore.cli.printing import print_json, print_outcomes
    from hf_affscore.run.many import analyze_many

    if arguments.plot:
        raise ModelError("--plot is for one model; with several, --output FOLDER saves a picture of each.")
    outcomes = analyze_many(arguments.models, arguments.dataset, processor=arguments.processor, **options)
    if not _goes_on_alone():
        return
    made = [outcome.signature for outcome in outcomes if outcome.signature is not None]
    folders = [(arguments.output or Path()) / _folder_for(signature) for signature in made]
    try:
        if arguments.output or arguments.push_to_hub:
            for signature, folder in zip(
                made, folders, strict=True
            ):  # all are saved before the first is sent
                save(signature, folder, reference=arguments.reference)
    finally:
        if arguments.json:
            print_json([_outcome(each) for each in outcomes])
        else:
            print_outcomes(outcomes)
            if arguments.output or arguments.push_to_hub:
                print(*(f"signature: {folder}" for folder in folders), sep="\n")
    if arguments.push_to_hub:
        for signature, folder in zip(made, folders, strict=True):
            _push(signature, folder, arguments)
    failed = len(outcomes) - len(made)
    if failed:
        raise ModelError(f"{failed} of {len(outcomes)} models could not be analysed; the reasons are above.")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    signature = outcome.signature.to_dict() if outcome.signature else None
    return {"model": outcome.model, "signature": signature, "error": outcome.error}


def _run_demo(arguments: argparse.Namespace) -> None:
    from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
    from hf_affscore.run.analyze import analyze

    check_outputs(arguments)
    signature = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=512, cache=False)
    deliver(signature, arguments)
    if not arguments.json:
        print("\nNext, a checkpoint and images of your own:")
        print("  hf-affscore analyze microsoft/resnet-18 --dataset FOLDER_WITH_IMAGES --output signature")


def _run_inspect(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_json
    from hf_affscore.inspection.inspect import inspect

    options = {name: getattr(arguments, name) for name in INSPECT_OPTIONS}
    inspection = inspect(arguments.model, processor=arguments.processor, **options)
    if arguments.json:
        print_json(inspection.to_dict())
    else:
        print(inspection)


def _run_cache_ls(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_cache, print_json
    from hf_affscore.run.cache import cache_entries

    entries = cache_entries()
    if arguments.json:
        print_json([dataclasses.asdict(entry) for entry in entries])
    else:
        print_cache(entries)


def _run_cache_rm(arguments: argparse.Namespace) -> None:
    from hf_affscore.run.cache import cache_entries, remove_from_cache

    keys = [entry.key for entry in cache_entries()] if arguments.all else arguments.keys
    for key in keys:
        print(f"removed {remove_from_cache(key)}")


def _goes_on_alone() -> bool:
    """Disconnect from the processes that shared the analysis; whether this is the one that prints and writes."""
    from hf_affscore.run.processes import Processes

    processes = Processes.current()
    processes.disconnect()
    return processes.is_main


def _folder_for(signature: Signature) -> Path:
    from hf_affscore.publish.index import Entry

    return Path(f"affscore-{Path(Entry.of(signature).folder).name}")


def _push(signature: Signature, folder: Path, arguments: argparse.Namespace) -> None:
    """Publish a signature that has been saved; where that fails, say how to go on from there."""
    try:
        commit = signature.push_to_hub(arguments.push_to_hub, token=arguments.token)
    except AffscoreError as error:
        again = f"hf-affscore push {shlex.quote(str(folder))} {arguments.push_to_hub}"
        raise HubError(f"{error}\nThe signature is safe in {folder}. Publish it with `{again}`.") from error
    print(f"published: {commit.commit_url}", file=sys.stderr if arguments.json else sys.stdout)
