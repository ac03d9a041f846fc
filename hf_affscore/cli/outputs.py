"""Where the signature of a command goes: into a folder, a picture, the terminal."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hf_affscore.errors import InputError
from hf_affscore.extras import is_installed
from hf_affscore.fileformat import JSON_FILE

if TYPE_CHECKING:
    from hf_affscore.signature import Signature

PICTURE_FILE = "signature.png"


def add_outputs(command: argparse.ArgumentParser, output: str | None) -> None:
    """What ``analyze`` and ``demo`` do with a signature."""
    default = f" (default: {output})" if output else ""
    command.add_argument(
        "--output",
        type=Path,
        default=output,
        metavar="FOLDER",
        help=f"save the signature and a picture of it here{default}",
    )
    add_picture(command)
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def add_picture(command: argparse.ArgumentParser) -> None:
    """The options of a picture."""
    command.add_argument("--plot", type=Path, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    command.add_argument(
        "--reference",
        action="store_true",
        help="draw the scores of well-known networks behind the picture, in grey",
    )


def check_outputs(arguments: argparse.Namespace) -> None:
    """Fail before the analysis, not after it, if the results cannot be written."""
    if arguments.plot:
        from hf_affscore.plots.style import check_format

        check_format(arguments.plot)
    for path in (arguments.output, arguments.plot and arguments.plot.parent):
        if path is None:
            continue
        there = next((folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder)), None)
        if there is None:
            raise InputError(
                f"{path} cannot be made: there is no {path.anchor}. Choose another place for the results."
            )
        if not there.is_dir() or not os.access(there, os.W_OK):
            kind = "is not a folder" if not there.is_dir() else "cannot be written to"
            raise InputError(f"{path} cannot be made: {there} {kind}. Choose another place for the results.")
    if arguments.output:
        _check_place(arguments.output, many=len(getattr(arguments, "models", [])) > 1)


def _check_place(folder: Path, *, many: bool) -> None:
    """Refuse a folder that would hold one signature and others below it, all of which ``compare`` would read."""
    taken = next((each for each in folder.absolute().parents if (each / JSON_FILE).is_file()), None)
    if many and (folder / JSON_FILE).is_file():
        taken = folder
    if taken:
        raise InputError(
            f"{taken} holds a signature, and others inside it would be mixed up with it. Choose a folder "
            "outside it."
        )
    below = [each for depth in ("*", "*/*") for each in folder.glob(f"{depth}/{JSON_FILE}")]
    if below and not many:
        raise InputError(
            f"{folder} holds {len(below)} signature{'s' * (len(below) != 1)} in folders below, and one beside them "
            f"would be mixed up with them. Choose a folder of its own, such as {folder / 'NAME'}."
        )


def save(signature: Signature, folder: Path, *, reference: bool) -> list[str]:
    """Save a signature with a picture of it, if matplotlib is there, and say where."""
    said = [f"signature: {signature.save_pretrained(folder)}"]
    if is_installed("matplotlib"):
        signature.plot(folder / PICTURE_FILE, reference=reference)
        said.append(f"picture:   {folder / PICTURE_FILE}")
    return said


def draw(signature: Signature, path: Path, *, reference: bool) -> str:
    """Save a picture, in a folder that is made if missing, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signature.plot(path, reference=reference)
    return f"picture:   {path}"


def deliver(signature: Signature, arguments: argparse.Namespace) -> None:
    """Save, then print: a closed pipe loses no file, and on a full disk the result is still printed."""
    from hf_affscore.cli.printing import print_json

    saved: list[str] = []
    try:
        if arguments.output:
            saved += save(signature, arguments.output, reference=arguments.reference)
        if arguments.plot:
            saved.append(draw(signature, arguments.plot, reference=arguments.reference))
    finally:
        if arguments.json:
            print_json(signature.to_dict())
        else:
            print(signature)
            print(*saved, sep="\n")
