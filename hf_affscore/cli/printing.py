"""What commands print: tables in a terminal, or one JSON document."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hf_affscore.evidence import evidence_of
from hf_affscore.signature import call_name

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison
    from hf_affscore.inspection.cost import Cost
    from hf_affscore.inspection.inspection import Inspection
    from hf_affscore.run.cache import CacheEntry
    from hf_affscore.run.many import Outcome
    from hf_affscore.signature import Record, Signature

BAR_WIDTH = 20
PLAIN_WIDTH = 120  # columns where the output is no terminal


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else to stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def print_signature(signature: Signature) -> None:
    """Print rows, summary and what was left out to stdout."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    table = Table(title=Text(_title(signature)), title_justify="left", box=None, pad_edge=False)
    table.add_column("module", overflow="fold")
    table.add_column("activation")
    table.add_column("width", justify="right")
    table.add_column("score", justify="right")
    table.add_column("", justify="right")
    table.add_column("", no_wrap=True)
    for row in signature.rows:
        error = _plus_minus(row.get("affinity_score_stderr"))
        score = f"{row.affinity_score:.4f}"
        table.add_row(Text(call_name(row)), Text(row.activation), str(row.dim), score, error, _bar(row))
    _print(console, table)
    summary = signature.summary()
    measures = "  ".join(
        f"{name} {summary[name]:.4f}" + f" {_plus_minus(summary.get(f'{name}_stderr'))}".rstrip()
        for name in ("min", "median", "mean", "max", "std")
    )
    _print(console, f"\n{summary['count']} scores   {measures}")
    for text in (*signature.verdict, *_notes(signature)):
        _print(console, Text(text))


def print_inspection(inspection: Inspection) -> None:
    """Print the calls that would be scored, those that would not, and the expected cost to stdout."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    _print(console, Text(f"{inspection.name} ({inspection.model_class}), pooling {inspection.pooling!r}\n"))
    table = Table(box=None, pad_edge=False)
    for name, justify in (("module", "left"), ("activation", "left"), ("shape", "right"), ("width", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in inspection.rows:
        table.add_row(Text(call_name(row)), Text(row.activation), row.shape, str(row.dim))
    _print(console, table)
    if inspection.skipped:
        _print(console, "\nnot scored")
    reasons = Counter((row.activation, row.reason) for row in inspection.skipped)
    for (activation, reason), count in reasons.items():
        _print(console, Text(f"  {count} x {activation}: {reason}"))
    _print(console, f"\n{len(inspection.rows)} activations, {len(inspection.skipped)} not scored")
    _print(console, *map(Text, _cost_lines(inspection.cost)), sep="\n")
    for text in inspection.verdict:
        _print(console, Text(text))


def _cost_lines(cost: Cost) -> list[str]:
    """Memory and time in lines whose figures add up as they are printed."""
    phases = {
        phase: {name: round(size / 1e9, 2) for name, size in parts.items()}
        for phase, parts in cost.parts_by_phase.items()
    }
    lines = [f"\nexpected on a CPU for {cost.num_samples} images"]
    for phase, parts in phases.items():
        sums = " + ".join(f"{size:.2f} {name}" for name, size in parts.items())
        lines.append(f"  {phase:<8}{sum(parts.values()):6.2f} GB = {sums}")
    if cost.pass_bytes is None:
        lines.append("  forward passes could not be counted: their memory and time are unknown")
    lines.append(f"  peak    {max(sum(parts.values()) for parts in phases.values()):6.2f} GB")
    steps = {
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
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("network", overflow="fold")
    for heading in ("scores", "median", "min", "max", "std", "modes", "accuracy"):
        table.add_column(heading, justify="right")
    table.add_column("nearest", overflow="fold")
    lines = comparison.networks.to_dict(orient="index")
    for name in (comparison.names[i] for i in comparison.leaf_order):
        line = lines[name]
        figures = [f"{line[column]:.4f}" for column in ("median", "min", "max", "std")]
        modes = ", ".join(f"{mode:.2f}" for mode in line["modes"])
        accuracy = "" if math.isnan(line["accuracy"]) else f"{line['accuracy']:.4f}"
        nearest = "".join(f"{other} ({distance:.3f})" for other, distance in comparison.nearest(name, 1))
        count, total = line["evidence"], line["activations"]
        scores = str(total) if count == total else f"{count} of {total}"
        table.add_row(Text(name), scores, *figures, modes, accuracy, Text(nearest))
    _print(console, table)
    for name, signature in zip(comparison.names, comparison.signatures, strict=True):
        if lines[name]["evidence"] < len(signature.rows):
            _print(console, Text(f"{name}: {' '.join(signature.verdict)}"))
    correlations = comparison.correlation_summary()
    if len(correlations):
        _print(console, "\ncorrelation with the score, mean and standard deviation over networks")
    for statistic, mean, std, _ in correlations.itertuples():
        _print(console, Text(f"  {statistic!s:<24}{mean:+.2f} +- {std:.2f}"))
    for difference in comparison.differences:
        _print(console, Text(f"made differently: {difference}"))


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print one line per model, its summary or the reason why there is none, to stdout."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    for heading in ("scores", "median", "min", "max"):
        table.add_column(heading, justify="right")
    table.add_column("failed", overflow="fold")
    for outcome in outcomes:
        summary = outcome.signature.summary() if outcome.signature else {}
        figures = [f"{summary[name]:.4f}" if summary else "" for name in ("median", "min", "max")]
        table.add_row(Text(outcome.model), str(summary.get("count", "")), *figures, Text(outcome.error or ""))
    _print(console, table)


def print_cache(entries: Sequence[CacheEntry]) -> None:
    """Print the analyses in the cache to stdout."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("key", no_wrap=True)  # to be copied
    for heading in ("model", "data set", "options", "state", "changed (UTC)", "size"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(
            entry.key,
            Text(entry.asked["model"]["name"]),
            Text(entry.asked["dataset"]["name"]),
            Text("\n".join(f"{name} {value}" for name, value in entry.chosen.items())),
            "finished" if entry.finished else "interrupted",
            entry.changed[:16].replace("T", " "),
            f"{entry.size / 1e6:.1f} MB",
        )
    _print(console, table)


def _print(console: Console, *renderables: RenderableType, sep: str = " ") -> None:
    """Print without the blanks that fill every line of a table up to its width."""
    with console.capture() as printed:
        console.print(*renderables, sep=sep)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _title(signature: Signature) -> str:
    dataset = signature.metadata.get("dataset", {})
    images = dataset.get("id") or "images"
    split = f" ({dataset['split']})" if dataset.get("split") else ""
    return f"{signature.name} on {dataset.get('num_samples', '?')} images of {images}{split}\n"


def _plus_minus(error: float | None) -> str:
    """A standard error behind its number; nothing where it is unknown."""
    return "" if error is None or math.isnan(error) else f"±{error:.4f}"


def _bar(row: Record) -> Text:
    """The score as a bar, or the reason why it is no evidence."""
    evidence = evidence_of(row)
    if evidence != "ok":
        reason = row.get("reason") if evidence == "undefined" else None
        return Text(reason or evidence.replace("_", " "), style="yellow")
    filled = round(row.affinity_score * BAR_WIDTH)
    return Text("█" * filled + "·" * (BAR_WIDTH - filled))


def _notes(signature: Signature) -> list[str]:
    notes = []
    quantised = signature.metadata.get("model", {}).get("quantization")
    if quantised:
        bits = f", {quantised['bits']} bits" if quantised.get("bits") else ""
        notes.append(f"weights quantised by {quantised.get('quant_method')}{bits}")
    dataset = signature.metadata.get("dataset", {})
    groups, left_over = dataset.get("num_groups", 1), dataset.get("unused", 0)
    if groups > 1:
        spread = max(row.affinity_score_group_std for row in signature.rows)
        notes.append(
            f"means over {groups} groups of {dataset['num_samples'] // groups} images, which deviate by up to "
            f"{spread:.4f}"
            + (f"; {left_over} images, too few for a group, are left out" if left_over else "")
        )
    if signature.skipped:
        reasons: dict[str, int] = {}
        for record in signature.skipped:
            reasons[record.reason] = reasons.get(record.reason, 0) + 1
        notes.append("not scored: " + "; ".join(f"{count} x {reason}" for reason, count in reasons.items()))
    return notes
