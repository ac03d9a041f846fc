"""The parser of the command line, and the options of an analysis from :class:`hf_affscore.options.Options`."""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import re
import sys
import types
import typing
from collections.abc import Collection, Sequence
from typing import Any, Literal, NoReturn

from hf_affscore.options import Options
from hf_affscore.spelling import did_you_mean

#: Options that other programs have, and what to use here.
_INSTEAD = {
    "--dry-run": " `hf-affscore inspect MODEL` lists what analyze would score, and its cost, without weights."
}


class Parser(argparse.ArgumentParser):
    """A parser that names the option, command or value that was probably meant, in place of a misspelt one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})
        self._typed: list[str] = []

    def parse_known_args(  # type: ignore[override]  # each command reports what it does not know, with its own usage
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all arguments; an unknown one is an error."""
        self._typed = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [word for word in unknown if word.startswith("-")]
            what = "there is no option" if options else "this is one argument too many:"
            self.error(f"{what} {' '.join(options or unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with usage, one sentence, and the close match."""
        message = re.sub(r"^the following arguments are required: (.*)", r"missing: \1", message)
        if choice := re.fullmatch(r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message):
            choices = re.findall(r"[\w.-]+", choice[3])
            message = f"{choice[1]} is {choice[2]!r}; expected one of {', '.join(choices)}"
            meant = [did_you_mean(choice[2], choices)]
        else:
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", self.format_help())
            typed = (word.partition("=")[0] for word in self._typed if word.startswith("--"))
            meant = [
                _INSTEAD.get(word) or did_you_mean(word, options) for word in typed if word not in options
            ]
        super().error(f"{message}.{''.join(meant)}")


def add_processor(command: argparse.ArgumentParser) -> None:
    """The option of what preprocesses images."""
    command.add_argument(
        "--processor",
        metavar="ID_OR_FOLDER",
        help='image processor of another checkpoint, or "imagenet"; default: the checkpoint\'s own',
    )


def add_options(
    command: argparse.ArgumentParser, names: Collection[str] | None = None, **defaults: Any
) -> None:
    """One command-line option for each field of :class:`Options`, or for those named.

    Args:
        command: Gets the options.
        names: The fields; None: all.
        **defaults: Where they differ from those of the table.
    """
    hints = typing.get_type_hints(Options)
    common = command.add_argument_group("options that most people need")
    further = command.add_argument_group("further options")
    for option in dataclasses.fields(Options):
        if names is not None and option.name not in names:
            continue
        group = common if option.metadata["common"] else further
        flag = "--" + option.name.replace("_", "-")
        text = option.metadata["help"]
        kind, default = _value_type(hints[option.name]), defaults.get(option.name, option.default)
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
            continue
        if typing.get_origin(kind) is collections.abc.Sequence:
            metavar = option.metadata["metavar"]
            group.add_argument(flag, nargs="+", default=default, metavar=metavar, help=text)
            continue
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else None
        shown = "" if default is None else f" (default: {default})"
        group.add_argument(
            flag,
            type=str if choices else kind,
            choices=choices,
            default=default,
            metavar=None if choices else option.metadata["metavar"],
            help=text + shown,
        )


def _value_type(hint: Any) -> Any:
    """The type that one word on the command line is converted to.

    ``int | None`` is an int, ``str | bool`` a str, and ``int | Literal["all"]`` an int or that word.
    """
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    kind, *others = (part for part in typing.get_args(hint) if part is not type(None))
    words = [word for part in others if typing.get_origin(part) is Literal for word in typing.get_args(part)]
    if not words:
        return kind

    def number_or_word(text: str) -> Any:
        try:
            return text if text in words else kind(text)
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"expected {' or '.join([number, *words])}, received {text!r}"
            ) from None

    return number_or_word
