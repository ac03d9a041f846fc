"""Names of modules as people read them: without what all of them begin with, and short enough for their place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

#: Letters that a shortened word keeps at least.
_LEAST_WORD = 1
_WORD = re.compile(r"[^\W\d_]+")


def common_prefix(names: Iterable[str]) -> str:
    """What all names begin with, in whole components and with the last dot; empty if that is nothing.

    At least one component of every name is left.

    Example:
        >>> common_prefix(["resnet.stages.0.relu", "resnet.stages.1.relu", "resnet.embedder"])
        'resnet.'
        >>> common_prefix(["relu"])
        ''
    """
    paths = [name.split(".")[:-1] for name in names]
    shared = []
    for components in zip(*paths, strict=False):
        if len(set(components)) > 1:
            break
        shared.append(components[0])
    return "".join(f"{component}." for component in shared)


def short_paths(paths: Sequence[str], width: int) -> list[str]:
    """Paths of modules on one line of at most ``width`` columns each: long words are cut, all to one length.

    Numbers stay, since layers of a network differ by them. If words of one letter are still too much, what is in
    the middle is left out.

    Example:
        >>> short_paths(["encoder.layers.11.layer.0.activation", "embedder.activation"], 23)
        ['enc.lay.11.lay.0.act', 'emb.act']
    """
    paths = [one_line(path) for path in paths]
    letters = max((len(word) for path in paths for word in _WORD.findall(path)), default=0)
    short = paths
    while max(map(columns, short), default=0) > width and letters > _LEAST_WORD:
        letters -= 1
        short = [_WORD.sub(lambda word: word[0][:letters], path) for path in paths]  # noqa: B023
    return [shortened(path, width) for path in short]


def path_end(path: str, width: int) -> str:
    """``path`` in at most ``width`` columns without its first components, so that the rest can be searched for.

    Example:
        >>> path_end("encoder.stages.1.layers.0.activation", 22)
        '…1.layers.0.activation'
    """
    path = one_line(path)
    parts = path.split(".")
    ends = [path, *(f"…{'.'.join(parts[start:])}" for start in range(1, len(parts)))]
    return next((end for end in ends if columns(end) <= width), shortened(parts[-1], width))


def shortened(text: str, width: int) -> str:
    """``text`` on one line of at most ``width`` columns: what does not fit is left out in the middle.

    Example:
        >>> shortened("microsoft/resnet-18-with-a-long-name", 20)
        'microso…-a-long-name'
    """
    text = one_line(text)
    if columns(text) <= width:
        return text
    start = _fitting(text, max(0, (width - 1) * 2 // 5))
    end = _fitting(text[::-1], max(0, width - 1 - columns(start)))[::-1]
    return f"{start}…{end}" if width > 0 else ""


def one_line(text: str) -> str:
    """``text`` with a blank for every character that does not print, such as the end of a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def columns(text: str) -> int:
    """The columns that a text takes in a terminal: two for a wide character, none for a combining one.

    Example:
        >>> columns("ReLU"), columns("层")
        (4, 2)
    """
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fitting(text: str, width: int) -> str:
    """As much of the beginning of ``text`` as fits into ``width`` columns."""
    taken = 0
    for place, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return text[:place]
    return text
