"""What commands print: tables in a terminal, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_affscore.blocks import are_blocks
from hf_affscore.names import shortened
from hf_affscore.tables import NARROW, TIGHT, Column, terminal_width, text_table, wrapped

if TYPE_CHECKING:
    from hf_affscore.run.cache import CacheEntry
    from hf_affscore.run.many import Outcome


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else to stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print one line per model, and the reasons why some have no signature, to stdout."""
    heads = [Column("model", flexible=True)]
    blocks = any(each.signature is not None and are_blocks(each.signature.rows) for each in outcomes)
    number, *figures = ("blocks", "effective_depth") if blocks else ("count", "median", "min", "max")
    heads += [
        Column(name.replace("count", "scores").replace("_", " "), right=True) for name in (number, *figures)
    ]
    lines = []
    for outcome in outcomes:
        summary = outcome.signature.summary() if outcome.signature else {}
        shown = [f"{summary[name]:.4f}" if summary else "" for name in figures]
        lines.append([outcome.model, str(summary.get(number, "failed")), *shown])
    print(text_table(heads, lines, terminal_width()))
    for outcome in outcomes:
        if outcome.error is not None:
            name = shortened(outcome.model, terminal_width() - len(" failed:"))
            _print_sentences(f"{name} failed: {outcome.error}")


def print_cache(entries: Sequence[CacheEntry]) -> None:
    """Print the analyses in the cache to stdout, each with its options in a line below it."""
    width = terminal_width()
    heads = [
        Column("key"),
        Column("state"),
        *([] if width < TIGHT else [Column("changed (UTC)")]),
        Column("size", right=True),
        Column("model", flexible=True),
        Column("data set", flexible=True),
    ]
    shown = 16 if width >= NARROW else 8  # `cache rm` takes beginnings of keys
    lines = [
        [
            entry.key[:shown],
            "finished" if entry.finished else "interrupted",
            *([] if width < TIGHT else [entry.changed[:16].replace("T", " ")]),
            f"{entry.size / 1e6:.1f} MB",
            entry.asked["model"]["name"],
            entry.asked["dataset"]["name"],
        ]
        for entry in entries
    ]
    first, *rows = text_table(heads, lines, width).splitlines()
    print(first)
    for entry, row in zip(entries, rows, strict=True):
        print(row)
        if entry.chosen:
            options = ", ".join(f"{name} {value}" for name, value in entry.chosen.items())
            print(shortened(f"{' ' * (shown + 2)}{options}", width))


def _print_sentences(*sentences: str) -> None:
    if sentences:
        print(*(wrapped(sentence, terminal_width()) for sentence in sentences), sep="\n")
