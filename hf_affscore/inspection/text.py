"""An inspection as text, in lines that fit a terminal."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from hf_affscore.blocks import are_blocks
from hf_affscore.listing import named, said_once, width_of
from hf_affscore.names import shortened
from hf_affscore.tables import Column, text_table, wrapped

if TYPE_CHECKING:
    from hf_affscore.inspection.cost import Cost
    from hf_affscore.inspection.inspection import Inspection


def inspection_text(inspection: Inspection, width: int) -> str:
    """The calls that would be scored, those that would not, the expected cost, and the verdict."""
    name = shortened(inspection.name, width)
    prefix, names = named(inspection.rows)
    blocks = are_blocks(inspection.rows)
    heads = [
        Column("#", right=True),
        Column("module", paths=True),
        *([Column("part")] if blocks else []),
        Column("class" if blocks else "activation", flexible=True),
        Column("shape", right=True),
        Column("width", right=True),
    ]
    lines = [
        [str(row.index), name, *([row.part] if blocks else []), row.activation, row.shape, width_of(row)]
        for row, name in zip(inspection.rows, names, strict=True)
    ]
    reasons = Counter((row.activation, row.reason) for row in inspection.skipped)
    left_out = [
        wrapped(f"  {count} x {activation}: {reason}", width, indent=4)
        for (activation, reason), count in reasons.items()
    ]
    return "\n".join(
        [
            wrapped(f"{name} ({inspection.model_class}), pooling {inspection.pooling!r}", width),
            *said_once(prefix, width),
            "",
            text_table(heads, lines, width),
            *(["", "not scored", *left_out] if left_out else []),
            "",
            inspection.counts,
            "",
            *(wrapped(line, width, indent=20) for line in _cost_lines(inspection.cost)),
            *(wrapped(sentence, width) for sentence in inspection.verdict),
        ]
    )


def _cost_lines(cost: Cost) -> list[str]:
    """Memory and time in lines whose figures add up as they are printed."""
    phases = {
        phase: {name: round(size / 1e9, 2) for name, size in parts.items()}
        for phase, parts in cost.parts_by_phase.items()
    }
    lines = [f"expected on a CPU for {cost.num_samples} images"]
    for phase, parts in phases.items():
        sums = " + ".join(f"{size:.2f} {name}" for name, size in parts.items())
        lines.append(f"  {phase:<8}{sum(parts.values()):6.2f} GB = {sums}")
    if cost.pass_bytes is None:
        lines.append("  forward passes could not be counted: their memory and time are unknown")
    lines.append(f"  peak    {max(sum(parts.values()) for parts in phases.values()):6.2f} GB")
    steps = {
        "imports": cost.import_seconds,
        "images": cost.images_seconds,
        "forward passes": cost.forward_seconds,
        "scoring": cost.score_seconds,
    }
    known = {name: math.ceil(seconds) for name, seconds in steps.items() if seconds is not None}
    sums = " + ".join(f"{seconds} {name}" for name, seconds in known.items())
    total = f"{sum(known.values())} s" if len(known) == len(steps) else "unknown"
    lines.append(
        f"  time    {total} = {sums}" if len(known) == len(steps) else f"  time    {total}; {sums} s"
    )
    if cost.may_take_longer:
        most = math.ceil(cost.score_seconds_at_most)
        lines.append(f"          scoring up to {most} s if the images make most layers hard to pair")
    return lines
