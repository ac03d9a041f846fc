"""What commands print: tables in a terminal, or one JSON document."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_affscore.blocks import are_blocks
from hf_affscore.listing import named, said_once, width_of
from hf_affscore.names import one_line, shortened
from hf_affscore.tables import NARROW, TIGHT, Column, terminal_width, text_table, wrapped

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison, Difference
    from hf_affscore.inspection.cost import Cost
    from hf_affscore.inspection.inspection import Inspection
    from hf_affscore.run.cache import CacheEntry
    from hf_affscore.run.many import Outcome
    from hf_affscore.signature import Signature


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else to stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_signature(signature: Signature) -> None:
    """Print rows, summary and what was left out to stdout."""
    print(signature)


def print_inspection(inspection: Inspection) -> None:
    """Print the calls that would be scored, those that would not, and the expected cost to stdout."""
    width = terminal_width()
    name = shortened(inspection.name, width)
    _print_sentences(f"{name} ({inspection.model_class}), pooling {inspection.pooling!r}")
    prefix, names = named(inspection.rows)
    blocks = are_blocks(inspection.rows)
    print(*said_once(prefix, width), "", sep="\n")
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
    print(text_table(heads, lines, width))
    if inspection.skipped:
        print("\nnot scored")
    reasons = Counter((row.activation, row.reason) for row in inspection.skipped)
    for (activation, reason), count in reasons.items():
        print(wrapped(f"  {count} x {activation}: {reason}", width, indent=4))
    what = "blocks and parts" if blocks else "activations"
    print(f"\n{len(inspection.rows)} {what}, {len(inspection.skipped)} not scored")
    print()
    print(*(wrapped(line, width, indent=20) for line in _cost_lines(inspection.cost)), sep="\n")
    _print_sentences(*inspection.verdict)


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


def print_comparison(comparison: Comparison) -> None:
    """Print one line per network in the order of the dendrogram, and the correlations, to stdout."""
    width = terminal_width()
    table = comparison.networks
    figures = ["median", "min", "max", *(["std"] if width >= NARROW else [])]
    figures += ["accuracy"] if table["accuracy"].notna().any() else []
    heads = [Column("network", flexible=True), Column("scores", right=True)]
    heads += [Column(name, right=True) for name in (*figures, "modes")]
    heads += [Column("nearest", flexible=True)] if len(table) > 1 else []
    lines_of, lines = table.to_dict(orient="index"), []
    for position in comparison.leaf_order:
        name = comparison.names[position]
        line = lines_of[name]
        count, total = int(line["evidence"]), int(line["activations"])
        nearest = [f"{other} ({distance:.3f})" for other, distance in comparison.nearest(name, 1)]
        numbers = ["" if math.isnan(line[figure]) else f"{line[figure]:.4f}" for figure in figures]
        modes = ", ".join(f"{mode:.2f}" for mode in line["modes"])
        scores = str(total) if count == total else f"{count} of {total}"
        lines.append([name, scores, *numbers, modes, *nearest])
    print(text_table(heads, lines, width))
    for name, signature in zip(comparison.names, comparison.signatures, strict=True):
        if lines_of[name]["evidence"] < len(signature.rows):
            _print_sentences(f"{name}: {' '.join(signature.verdict)}")
    correlations = comparison.correlation_summary()
    if len(correlations):
        print("\ncorrelation with the score, mean and standard deviation over networks")
    for statistic, mean, std, _ in correlations.itertuples():
        print(f"  {statistic!s:<24}{mean:+.2f} +- {std:.2f}")
    for difference in comparison.differences:
        _print_sentences(f"made differently: {difference}")


def print_difference(difference: Difference) -> None:
    """Print one line per change, the largest first, rows without a partner, and the verdict, to stdout."""
    print("Change of the affinity score from A to B (B - A)")
    width = terminal_width()
    for letter, network in zip("AB", difference.names, strict=True):
        print(shortened(f"{letter}  {network}", width))
    prefix, names = named(difference.changes)
    print(*said_once(prefix, width), "", sep="\n")
    tight = width < TIGHT  # without the kind of activation, and p, of which the last column has the finding
    heads = [
        Column("#", right=True),
        Column("module", paths=True),
        *([] if tight else [Column("activation", flexible=True)]),
        *(Column(heading, right=True) for heading in ("A", "B", "change", "", *([] if tight else ["p"]))),
        Column("", flexible=True),
    ]
    places = 5 if any(row.stderr < 5e-4 for row in difference.tested) else 4
    lines = []
    for row, name in zip(difference.changes, names, strict=True):
        scores = [f"{row.first:.4f}", f"{row.second:.4f}", f"{row.change:+.{places}f}"]
        tested = row.untested is None
        test = [f"±{row.stderr:.{places}f}", f"{row.p_value:.1g}"] if tested else ["", ""]
        said = row.untested or ("changed" if row.significant else "")
        kind = [] if tight else [row.activation]
        lines.append([str(row.index), name, *kind, *scores, *test[: 1 if tight else 2], said])
    print(text_table(heads, lines, width))
    print()
    for letter, rows in zip("AB", (difference.only_first, difference.only_second), strict=True):
        for row in rows:
            print(shortened(f"only in {letter}: {one_line(row.module)} ({row.activation})", width))
    _print_sentences(*difference.verdict)


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
