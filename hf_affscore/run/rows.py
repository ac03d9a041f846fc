"""Turns the scores of groups into the rows of a signature, and skipped calls into its list of skipped calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_affscore.capture.sites import CallSite
from hf_affscore.images.draw import dependence_of
from hf_affscore.run.means import over_groups, with_stored_effects, without_errors
from hf_affscore.run.scoring import Scores
from hf_affscore.signature import Record


def records(
    groups: Sequence[Scores], skipped: Mapping[CallSite, str], draw: Mapping[str, Any]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The rows of a signature, and the records of the calls that were not scored.

    Args:
        groups: The scores of each group.
        skipped: The calls that were skipped before any was scored, with the reason.
        draw: How the images were drawn, which tells whether they are independent.
    """
    scores = over_groups(list(groups))
    if (dependent := dependence_of(draw)) is not None:
        scores = without_errors(scores, dependent)
    rows: list[Record] = []
    reasons = dict(skipped)
    for site, columns in with_stored_effects(scores):
        if "skipped" in columns:
            reasons.setdefault(site, columns["skipped"])
            continue
        row = Record(
            index=len(rows),
            module=site.module,
            activation=site.activation,
            call=site.call,
            kind=site.kind,
            **({} if site.part is None else {"part": site.part}),
            channel_axis=site.channel_axis,
            **columns,
        )
        rows.append(row)
    return tuple(rows), tuple(_skipped(site, reason) for site, reason in reasons.items())


def _skipped(site: CallSite, reason: str) -> Record:
    return Record(
        module=site.module, activation=site.activation, call=site.call, kind=site.kind, reason=reason
    )
