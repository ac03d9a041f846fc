"""The command-line options of an analysis, made from the fields of :class:`hf_affscore.options.Options`."""

from __future__ import annotations

import argparse
import collections.abc
import dataclasses
import types
import typing
from collections.abc import Collection
from typing import Any, Literal

from hf_affscore.options import Options


def add_options(command: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
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
