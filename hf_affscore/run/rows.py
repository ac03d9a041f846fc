"""Turns scores into the rows of a signature, and skipped calls into its list of skipped calls."""

from __future__ import annotations

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
            channel_axis=site.channel_axis,
            **columns,
        )
        rows.append(row)
    return tuple(rows), tuple(_skipped(site, reason) for site, reason in reasons.items())


def _skipped(site: CallSite, reason: str) -> Record:
    return Record(
        module=site.module, activation=site.activation, call=site.call, kind=site.kind, reason=reason
    )
