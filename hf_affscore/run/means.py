"""Means over groups of images, and what rows say about errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from hf_affscore.capture.sites import CallSite
from hf_affscore.run.columns import Columns
from hf_affscore.run.scoring import Scores
from hf_affscore.summary import EFFECTS, standardised

#: Columns with the ends of intervals that narrow with the number of groups.
ENDS = ("affinity_score_low", "affinity_score_high")

#: Further columns about the error of a score.
ERRORS = ("affinity_score_stderr", "limit_low", "limit_high")


def over_groups(groups: list[Scores]) -> Scores:
    """One record per site over all groups: means, and the deviation of the score between groups.

    Numbers are averaged; ``num_samples`` is summed over groups. ``affinity_score_group_std`` is the sample standard
    deviation over G groups (divisor G - 1). The groups have different images, so the standard error of their mean
    is the mean of their standard errors divided by sqrt(G). Bounds of the limit are averaged.
    """
    if len(groups) == 1:
        return groups[0]
    by_site: dict[CallSite, list[Columns]] = {}
    for site, columns in itertools.chain.from_iterable(groups):
        by_site.setdefault(site, []).append(columns)
    return [(site, _mean(records, len(groups))) for site, records in by_site.items()]


def _mean(records: list[Columns], num_groups: int) -> Columns:
    skipped = next((record["skipped"] for record in records if "skipped" in record), None)
    if skipped is not None or len(records) < num_groups:
        return {"skipped": skipped or f"it ran in {len(records)} of {num_groups} groups only"}
    widths = sorted({record["dim"] for record in records})
    if len(widths) > 1:
        return {"skipped": f"its pooled width differs between groups: {widths}"}
    # Text columns come from the group with the weakest evidence.
    worst = next((record for record in records if record["evidence"] == "undefined"), None)
    worst = worst or next((record for record in records if record["evidence"] != "ok"), records[0])
    mean: Columns = {}
    for name, value in records[0].items():
        values = [record[name] for record in records]
        if name == "num_samples":
            mean[name] = int(np.sum(values))
        elif name == "scored_on":
            mean[name] = ", ".join(sorted(set(values)))
        elif name == "effects":
            together = len({len(effects) for effects in values}) == 1
            mean[name] = np.mean(values, axis=0).tolist() if together else []
        elif name == "dim" or not isinstance(value, int | float):
            mean[name] = worst[name]
        else:
            mean[name] = float(np.mean(values))
    scores = [record["affinity_score"] for record in records]
    mean["affinity_score_stderr"] /= math.sqrt(num_groups)
    for end in ENDS:
        mean[end] = mean["affinity_score"] + (mean[end] - mean["affinity_score"]) / math.sqrt(num_groups)
    spread = {
        "affinity_score_group_mean": float(np.mean(scores)),
        "affinity_score_group_std": float(np.std(scores, ddof=1)),
    }
    return {**mean, **spread, "num_groups": num_groups}


def without_errors(scores: Scores, why: str) -> Scores:
    """The same scores without standard errors and intervals, with the reason for leaving them out.

    They assume independent images; images from a few row groups of a file are not independent.
    """
    return [
        (site, _without_error(columns, why) if "affinity_score_stderr" in columns else columns)
        for site, columns in scores
    ]


def _without_error(columns: Columns, why: str) -> Columns:
    reason = columns.get("reason")
    unknown = dict.fromkeys((*ENDS, *ERRORS), math.nan)
    return {**columns, **unknown, "reason": f"{reason}; {why}" if reason else why}


def with_stored_effects(scores: Scores) -> Scores:
    """The same scores with the effects as they are stored (:data:`EFFECTS`); None without any."""
    return [
        (site, {_stored_name(name): _stored(name, value) for name, value in columns.items()})
        for site, columns in scores
    ]


def _stored_name(name: str) -> str:
    return EFFECTS if name == "effects" else name


def _stored(name: str, value: Any) -> Any:
    return (standardised(value) or None) if name == "effects" else value
