"""A signature as a table with its verdict: text for ``print``, HTML for a notebook."""

from __future__ import annotations

import html
import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_affscore.blocks import are_blocks
from hf_affscore.evidence import evidence_of
from hf_affscore.names import columns, common_prefix, shortened
from hf_affscore.record import Record, call_name
from hf_affscore.tables import NARROW, Column, html_table, text_table, wrapped

if TYPE_CHECKING:
    from hf_affscore.signature import Signature

_HEADS = (
    Column("#", right=True),
    Column("module", paths=True),
    Column("activation", flexible=True),
    Column("width", right=True),
    Column("score", right=True),
    Column("s.e.", right=True),
)


_HEADS_OF_BLOCKS = (
    Column("#", right=True),
    Column("module", paths=True),
    Column("part"),
    Column("class", flexible=True),
    Column("width", right=True),
    Column("r2", right=True),
    Column("update r2", right=True),
    Column("cosine", right=True),
    Column("norm", right=True),
)


def signature_text(signature: Signature, width: int) -> str:
    """The rows, their summary, the verdict and what was left out, in lines of ``width`` columns."""
    if are_blocks(signature.rows):
        prefix, lines = _lines_of_blocks(signature.rows)
        table = text_table(_HEADS_OF_BLOCKS, lines, width)
    else:
        bar = 20 if width >= NARROW else 10
        prefix, lines = _lines(signature.rows)
        lines = [[*line, _bar(row, bar)] for line, row in zip(lines, signature.rows, strict=True)]
        table = text_table([*_HEADS, Column("", flexible=True)], lines, width)
    below = [wrapped(text, width) for text in (_figures(signature), *_below(signature))]
    return "\n".join([*_above(signature, prefix, width), table, "", *below])


def signature_html(signature: Signature) -> str:
    """The same for a notebook; everything from outside is escaped."""
    if are_blocks(signature.rows):
        prefix, lines = _lines_of_blocks(signature.rows)
        table = html_table(_HEADS_OF_BLOCKS, lines)
    else:
        prefix, lines = _lines(signature.rows)
        lines = [[*line, _said(row)] for line, row in zip(lines, signature.rows, strict=True)]
        table = html_table([*_HEADS, Column("evidence")], lines)
    above, below = _above(signature, prefix), [_figures(signature), *_below(signature)]
    return "\n".join(
        [
            *(f"<p>{html.escape(text)}</p>" for text in above if text),
            table,
            *(f"<p>{html.escape(text)}</p>" for text in below),
        ]
    )


def named(rows: Sequence[Record]) -> tuple[str, list[str]]:
    """What all names of modules begin with, and the name of each call without it."""
    prefix = common_prefix(row.module for row in rows)
    return prefix, [call_name(row).removeprefix(prefix) for row in rows]


def said_once(prefix: str, width: int = sys.maxsize) -> list[str]:
    """The line above a table whose names are shown without ``prefix``."""
    line = "module names without their common beginning "
    return [f"{line}{shortened(prefix, width - len(line))}"] if prefix else []


def _lines(rows: Sequence[Record]) -> tuple[str, list[list[str]]]:
    prefix, names = named(rows)
    lines = [
        [
            str(place),
            name,
            row.activation,
            str(row.get("dim", "")),
            f"{row.affinity_score:.4f}",
            plus_minus(row.get("affinity_score_stderr")),
        ]
        for place, (row, name) in enumerate(zip(rows, names, strict=True))
    ]
    return prefix, lines


def _lines_of_blocks(rows: Sequence[Record]) -> tuple[str, list[list[str]]]:
    prefix, names = named(rows)
    numbers = ("r2_heldout", "r2_heldout_update", "update_cosine", "update_norm")
    lines = [
        [
            str(place),
            name,
            row.part,
            row.activation,
            width_of(row),
            *(_number(row[number]) for number in numbers),
        ]
        for place, (row, name) in enumerate(zip(rows, names, strict=True))
    ]
    return prefix, lines


def width_of(row: Record) -> str:
    """The width of a row; of a block that changes it, both."""
    after = row.get("dim_out", row.get("dim", ""))
    return str(after) if row.get("dim", "") == after else f"{row.dim} -> {after}"


def _number(value: float | None) -> str:
    """A number of a block; a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _above(signature: Signature, prefix: str, width: int = sys.maxsize) -> list[str]:
    dataset = signature.metadata.get("dataset", {})
    split = f" ({dataset['split']})" if dataset.get("split") else ""
    images = f"on {dataset.get('num_samples', '?')} images of {dataset.get('id') or 'images'}{split}"
    title = f"{signature.name} {images}"
    lines = [title] if columns(title) <= width else [signature.name, images]
    return [*(shortened(line, width) for line in lines), *said_once(prefix, width), ""]


def _figures(signature: Signature) -> str:
    summary = signature.summary()
    if are_blocks(signature.rows):
        return f"effective depth {summary['effective_depth']:.2f} of {summary['blocks']} blocks"
    figures = "  ".join(
        f"{name} {summary[name]:.4f} {plus_minus(summary.get(f'{name}_stderr'))}".rstrip()
        for name in ("min", "median", "mean", "max", "std")
    )
    return f"{summary['count']} score{'s' * (summary['count'] != 1)}   {figures}"


def _below(signature: Signature) -> list[str]:
    notes = list(signature.verdict)
    quantised = signature.metadata.get("model", {}).get("quantization")
    if quantised:
        bits = f", {quantised['bits']} bits" if quantised.get("bits") else ""
        notes.append(f"weights quantised by {quantised.get('quant_method')}{bits}")
    dataset = signature.metadata.get("dataset", {})
    groups, left_over = dataset.get("num_groups", 1), dataset.get("unused", 0)
    spreads = [row.get("affinity_score_group_std", math.nan) for row in signature.rows]
    if groups > 1 and spreads:
        notes.append(
            f"means over {groups} groups of {dataset['num_samples'] // groups} images, which deviate by up to "
            f"{max(spreads):.4f}"
            + (f"; {left_over} images, too few for a group, are left out" if left_over else "")
        )
    if signature.skipped:
        reasons = Counter(record.reason for record in signature.skipped)
        notes.append("not scored: " + "; ".join(f"{count} x {reason}" for reason, count in reasons.items()))
    return notes


def plus_minus(error: float | None) -> str:
    """A standard error behind its number; nothing where it is unknown."""
    return "" if error is None or math.isnan(error) else f"±{error:.4f}"


def _said(row: Record) -> str:
    """Whether a score is evidence, or the reason why not."""
    evidence = evidence_of(row)
    reason = row.get("reason") if evidence == "undefined" else None
    return str(reason or evidence.replace("_", " "))


def _bar(row: Record, width: int) -> str:
    """The score as a bar, or the reason why it is no evidence."""
    if evidence_of(row) != "ok":
        return _said(row)
    filled = round(float(row.affinity_score) * width)
    return "█" * filled + "·" * (width - filled)
