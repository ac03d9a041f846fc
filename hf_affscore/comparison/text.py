"""A comparison and a difference as text, in lines that fit a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hf_affscore.comparison.export import with_error
from hf_affscore.comparison.notes import FEW_SCORES
from hf_affscore.listing import named, said_once
from hf_affscore.names import one_line, shortened
from hf_affscore.tables import NARROW, TIGHT, Column, text_table, wrapped

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison, Difference
    from hf_affscore.signature import Record


def comparison_text(comparison: Comparison, width: int) -> str:
    """One line per network in the order of the dendrogram, what is no evidence, and the correlations."""
    table = comparison.networks
    median = "median" if width < TIGHT else "median ±s.e."
    figures = ["min", "max", *(["std"] if width >= NARROW else [])]
    figures += ["accuracy"] if table["accuracy"].notna().any() else []
    heads = [Column("network", flexible=True), Column("scores", right=True)]
    heads += [Column(name, right=True) for name in (median, *figures, "modes")]
    heads += [Column("nearest", flexible=True)] if len(table) > 1 else []
    lines_of, lines = table.to_dict(orient="index"), []
    for position in comparison.leaf_order:
        name = comparison.names[position]
        line = lines_of[name]
        count, total = int(line["evidence"]), int(line["activations"])
        nearest = [f"{other} ({distance:.3f})" for other, distance in comparison.nearest(name, 1)]
        numbers = ["" if math.isnan(line[figure]) else f"{line[figure]:.4f}" for figure in figures]
        error = math.nan if width < TIGHT else line["median_stderr"]
        numbers = [with_error(line["median"], error, decimals=4), *numbers]
        modes = ", ".join(f"{mode:.2f}" for mode in line["modes"])
        scores = str(total) if count == total else f"{count} of {total}"
        lines.append([name, scores, *numbers, modes, *nearest])
    below = [
        wrapped(f"{name}: {' '.join(signature.verdict)}", width)
        for name, signature in zip(comparison.names, comparison.signatures, strict=True)
        if lines_of[name]["evidence"] < len(signature.rows)
    ]
    below += [wrapped(note, width) for note in comparison.distance_notes]
    correlations = comparison.correlation_summary()
    if len(correlations):
        heads_below = [
            Column("statistic"),
            Column("mean"),
            Column("networks", flexible=True),
        ]
        found = [
            [
                str(statistic),
                "" if math.isnan(mean) else f"{mean:+.2f}{'' if math.isnan(std) else f' ±{std:.2f}'}",
                f"{networks}{f', {few} {FEW_SCORES}' if few else ''}",
            ]
            for statistic, mean, std, networks, few in correlations.itertuples()
        ]
        below += ["", "correlation with the score, mean ±standard deviation over networks"]
        below += [text_table(heads_below, found, width)]
    below += [wrapped(f"made differently: {each}", width) for each in comparison.differences]
    return "\n".join([text_table(heads, lines, width), *below])


def difference_text(difference: Difference, width: int) -> str:
    """One line per change, the largest first, rows without a partner, and the verdict."""
    networks = [
        shortened(f"{letter}  {name}", width) for letter, name in zip("AB", difference.names, strict=True)
    ]
    prefix, names = named(difference.changes)
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
        kind = [] if tight else [activation_of(row)]
        lines.append([str(row.index), name, *kind, *scores, *test[: 1 if tight else 2], said])
    alone = [
        shortened(f"only in {letter}: {one_line(row.module)} ({row.activation})", width)
        for letter, rows in zip("AB", (difference.only_first, difference.only_second), strict=True)
        for row in rows
    ]
    return "\n".join(
        [
            "Change of the affinity score from A to B (B - A)",
            *networks,
            *said_once(prefix, width),
            "",
            text_table(heads, lines, width),
            "",
            *alone,
            *(wrapped(sentence, width) for sentence in difference.verdict),
        ]
    )


def activation_of(change: Record) -> str:
    """The activation of a change; both where they differ.

    Example:
        >>> from hf_affscore.signature import Record
        >>> activation_of(Record(activation="ReLU", second_activation="GELU"))
        'ReLU → GELU'
    """
    return " → ".join(dict.fromkeys((change.activation, change.second_activation)))
