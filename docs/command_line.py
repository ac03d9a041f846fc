"""Writes ``cli.md``, the page about the command line, from the parser: ``python -m docs.command_line``.

A page of plain Markdown, so that it reads as well where no site is built. A test holds it up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from hf_affscore.cli import parser

PAGE = Path(__file__).parent / "cli.md"
OPENING = """# The command line

<!-- Written by `python -m docs.command_line`. -->

Data goes to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed with a message,
2 wrong usage, 130 interrupted, 141 the output was closed (`| head`), 143 terminated.
`python -m hf_affscore` is the same command.
"""


def page() -> str:
    """The whole page."""
    return OPENING + "".join(section(command) for command in commands(parser()))


def commands(root: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command that can be typed, those of commands (``cache ls``) as well."""
    groups = [action for action in root._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield root
    for group in groups:
        for command in dict.fromkeys(group.choices.values()):
            yield from commands(command)


def section(command: argparse.ArgumentParser) -> str:
    """Usage, description and the table of arguments of one command."""
    arguments = [action for action in command._actions if action.dest != "help"]
    usual = [spelt(each) for each in arguments if each.required]
    options = [] if len(usual) == len(arguments) else ["[OPTIONS]"]
    lines = [f"\n## {command.prog}\n", f"`{' '.join([command.prog, *usual, *options])}`\n"]
    lines += [f"{command.description}\n"] if command.description else []
    lines += table(each for group in command._action_groups[:2] for each in group._group_actions)
    for group in command._action_groups[2:]:
        rows = table(group._group_actions)
        lines += [f"\n{str(group.title).capitalize()}:\n", *rows] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def table(actions: Iterable[argparse.Action]) -> list[str]:
    """Arguments and their meanings as lines of a table; none if there are none."""
    rows = [f"| `{spelt(each)}` | {each.help} |" for each in actions if each.dest != "help"]
    return ["| argument | meaning |", "| :-- | :-- |", *rows] if rows else []


def spelt(action: argparse.Action) -> str:
    """An argument as it is typed: ``--seed N``, ``MODEL ...``."""
    value = action.metavar or (
        "{" + ", ".join(action.choices) + "}" if action.choices else action.dest.upper()
    )
    if action.nargs in ("+", "*"):
        value = f"{value} ..."
    if not action.option_strings:
        return str(value)
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


if __name__ == "__main__":
    PAGE.write_text(page())
