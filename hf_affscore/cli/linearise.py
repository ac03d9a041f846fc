"""``linearise``: a classifier with affine maps in place of activations or blocks, as predictions allow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hf_affscore.cli.arguments import add_options, add_processor
from hf_affscore.errors import InputError
from hf_affscore.simplify.options import APPLYING, NUM_SAMPLES


def add_linearise(commands: Any) -> None:
    """Add ``linearise`` to the commands."""
    command = commands.add_parser(
        "linearise",
        help="replace the activations or blocks that a classifier can do without by affine maps",
        usage="%(prog)s MODEL --dataset DATASET [OPTIONS]",  # --sites takes all words after it
        description="Replace activations, or with --level blocks whole blocks and their parts, by affine maps "
        "while images keep the class that they are given, and say what that changes.",
    )
    command.add_argument("model", metavar="MODEL", help="Hub id or local folder of an image classifier")
    command.add_argument(
        "--dataset",
        required=True,
        metavar="DATASET",
        help='Hub id, local folder, file or pattern of files, or "noise"',
    )
    command.add_argument(
        "--sites",
        nargs="+",
        metavar="PATTERN",
        help="activations or modules that may be replaced, or block, attention, mlp; default: all",
    )
    command.add_argument(
        "--budget",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="largest share of images that may get another class (default: %(default)s)",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="only list what could be replaced, how well the map fits, and what that would save",
    )
    add_processor(command)
    command.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="save the new network here; torch.load(FILE, weights_only=False)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    add_options(command, APPLYING, num_samples=NUM_SAMPLES)
    command.set_defaults(run=_run_linearise)


def _run_linearise(arguments: argparse.Namespace) -> None:
    from hf_affscore.cli.printing import print_json
    from hf_affscore.simplify.linearise import linearise

    if arguments.dry_run and arguments.output:
        raise InputError(
            "--output is given with --dry-run, which makes no network. Leave out one of the two."
        )
    _check_output(arguments.output)
    model, report = linearise(
        arguments.model,
        arguments.dataset,
        sites=arguments.sites,
        budget=arguments.budget,
        dry_run=arguments.dry_run,
        processor=arguments.processor,
        **{name: getattr(arguments, name) for name in APPLYING},
    )
    if arguments.output:
        import torch

        torch.save(model, arguments.output)
    if arguments.json:
        print_json(report.to_dict())
        return
    print(report)
    if arguments.output:
        print(f"\nnetwork: {arguments.output}")


def _check_output(path: Path | None) -> None:
    """Fail before the network is loaded, not after it, if the result cannot be saved."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise InputError(f"--output is {path}; expected a file in a folder that exists.")
    if path is None:
        return
    there = path.exists()
    try:
        path.open("ab").close()  # asking for permissions says yes to root, also where nothing can be written
    except OSError as error:
        raise InputError(
            f"--output is {path}, which cannot be written: {error.strerror}. Choose another place."
        ) from error
    if not there:
        path.unlink()
