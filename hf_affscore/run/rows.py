"""Turns scores into the rows of a signature, and skipped calls into its list of skipped calls."""

from __future__ import annotations

from collections.abc import Iterable

from hf_affscore.capture import looked_for
from hf_affscore.capture.features import WIDTHS
from hf_affscore.capture.sites import CallSite
from hf_affscore.run.groups import Totals
from hf_affscore.run.scoring import Scores
from hf_affscore.signature import Record


def records(scores: Scores, totals: Totals) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The rows of a signature, and the records of the calls that were not scored."""
    rows: list[Record] = []
    reasons = dict(totals.skipped)
    for site, columns in scores:
        if "skipped" in columns:
            reasons.setdefault(site, columns["skipped"])
            continue
        row = Record(
            index=len(rows),
            module=site.module,
            activation=site.activation,
            call=site.call,
            kind=site.kind,
            **columns,
        )
        rows.append(row)
    return tuple(rows), tuple(_skipped(site, reason) for site, reason in reasons.items())


def nothing_found(model: str, skipped: Iterable[Record]) -> str:
    """Why a signature of ``model`` would have no row at all."""
    skipped = list(skipped)
    seen = "; ".join(f"{row.module} ({row.activation}): {row.reason}" for row in skipped[:10])
    advice = ""
    if any(row.reason.startswith(WIDTHS) for row in skipped):
        advice = (
            " Where the width follows the size of the image, pass images of one size, or pooling='channels' "
            "(--pooling channels)."
        )
    return f"{model} ran without any activation that can be scored. " + (
        f"Seen and skipped: {seen}.{advice}" if seen else f"Looked for calls of {', '.join(looked_for())}."
    )


def _skipped(site: CallSite, reason: str) -> Record:
    return Record(
        module=site.module, activation=site.activation, call=site.call, kind=site.kind, reason=reason
    )
