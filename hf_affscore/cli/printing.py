"""What commands print: tables in a terminal, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_affscore.blocks import are_blocks
from hf_affscore.listing import plus_minus
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
    blocks = any(each.signature is not None and are_blocks(each.signature.rows) for each in outcomes)
    number, figures = ("blocks", ["effective_depth"]) if blocks else ("scores", ["median", "min", "max"])
    heads = [Column("model", flexible=True), Column(number, right=True)]
    heads += [Column(name.replace("_", " "), right=True) for name in figures]
    lines = []
    for outcome in outcomes:
        if outcome.signature is None:
            lines.append([outcome.model, "failed", *("" for _ in figures)])
            continue
        summary = outcome.signature.summary()
        count, total = summary.get("blocks", summary.get("count")), len(outcome.signature.rows)
        of = str(count) if blocks or count == total else f"{count} of {total}"
        shown = [
            f"{summary[name]:.4f} {plus_minus(summary.get(f'{name}_stderr'))}".rstrip() for name in figures
        ]
        lines.append([outcome.model, of, *shown])
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
