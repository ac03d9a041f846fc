"""What the names of modules tell about a network: its stages, and places in a block that is repeated."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hf_affscore.names import common_prefix
from hf_affscore.record import Record

#: More runs of rows than this are blocks rather than stages.
MOST_STAGES = 12

#: A stage has at least this many rows on average, and a place occurs at least this often.
_ROWS = 3
#: Groups that a picture tells apart by place; more are told apart by kind alone.
_MOST_SERIES = 6
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Stage:
    """Consecutive rows below one module: ``first`` to ``last``, both included."""

    first: int
    last: int
    parent: str  # the path of the module around it, with its dot
    name: str  # of the module in there


def stages(rows: Sequence[Record]) -> list[Stage]:
    """The stages of a network: runs of rows that share the beginning of their paths; empty if there are none.

    Of all depths of the module tree, it is the one with most runs that still have three rows on average.

    Example:
        >>> paths = [f"net.stages.{stage}.{block}.act" for stage in (0, 1) for block in range(4)]
        >>> [(stage.first, stage.last, stage.name) for stage in stages([Record(module=path) for path in paths])]
        [(0, 3, '0'), (4, 7, '1')]
    """
    paths = [tuple(row.module.split(".")) for row in rows]
    most = min(MOST_STAGES, len(rows) // _ROWS)
    best: list[Stage] = []
    for depth in range(1, max(map(len, paths), default=0) + 1):
        runs = _runs([path[:depth] for path in paths])
        if len(best) < len(runs) <= most and len(runs) > 1:
            best = runs
    return best


def series(rows: Sequence[Record]) -> list[str]:
    """The name of the group that each row is drawn with: its activation, and its place in a repeated block.

    The place is the path without the numbers of blocks, and the number of the call. It is told where the kinds of
    activation have two to six places in all that occur three times or more.

    Example:
        >>> paths = ["stem.act", *(f"blocks.{i}.{name}" for i in range(3) for name in ("act1", "act2"))]
        >>> series([Record(module=path, activation="ReLU", call=0) for path in paths])[:3]
        ['ReLU elsewhere', 'ReLU, act1', 'ReLU, act2']
    """
    places = [(row.activation, _place(row.module), row.get("call", 0)) for row in rows]
    counts = Counter(places)
    frequent = [place for place in dict.fromkeys(places) if counts[place] >= _ROWS]
    kinds = Counter(kind for kind, *_ in frequent)
    told = [place for place in frequent if kinds[place[0]] > 1]
    if not 2 <= len(told) <= _MOST_SERIES:
        return [row.activation for row in rows]
    prefix = common_prefix(path for _, path, _ in told)
    names = {
        place: f"{place[0]}, {place[1].removeprefix(prefix)}" + (f" #{place[2]}" if place[2] else "")
        for place in told
    }
    apart = {kind for kind, *_ in told}
    return [names.get(place, f"{place[0]} elsewhere" if place[0] in apart else place[0]) for place in places]


def _place(path: str) -> str:
    """``path`` without numbers, except in the names behind the last component that is a number.

    Example:
        >>> _place("layer1.0.act2"), _place("denseblock1.denselayer3.relu2")
        ('layer*.*.act2', 'denseblock*.denselayer*.relu2')
    """
    parts = path.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdecimal()]
    end = numbers[-1] + 1 if numbers else len(parts) - 1
    return ".".join([*(_NUMBER.sub("*", part) for part in parts[:end]), *parts[end:]])


def _runs(beginnings: Sequence[tuple[str, ...]]) -> list[Stage]:
    found, start = [], 0
    for beginning, members in itertools.groupby(beginnings):
        count = len(list(members))
        parent = "".join(f"{part}." for part in beginning[:-1])
        found.append(Stage(start, start + count - 1, parent, beginning[-1]))
        start += count
    return found
