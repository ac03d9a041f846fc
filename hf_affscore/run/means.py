"""Means over groups of images, and correlations between the errors of one network's scores."""

from __future__ import annotations

import itertools
import math

import numpy as np

from hf_affscore.capture.sites import CallSite
from hf_affscore.run.scoring import Columns, Scores

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
        (site, columns if "skipped" in columns else _without_error(columns, why)) for site, columns in scores
    ]


def _without_error(columns: Columns, why: str) -> Columns:
    reason = columns.get("reason")
    unknown = dict.fromkeys((*ENDS, *ERRORS), math.nan)
    return {**columns, **unknown, "reason": f"{reason}; {why}" if reason else why}


def correlated(scores: Scores) -> Scores:
    """The same scores with the column ``affinity_score_error_correlation`` in place of the effects of samples.

    Layers of one network share their images, so their errors are correlated. The new column is the correlation of
    a score's error with the error of the mean over the scores that are evidence; nan if no score is.
    """
    evidence = [columns["effects"] for _, columns in scores if columns.get("evidence") == "ok"]
    lengths = {len(effects) for effects in evidence}
    mean = np.mean(evidence, axis=0) if len(lengths) == 1 else None
    return [(site, _with_correlation(columns, mean)) for site, columns in scores]


def _with_correlation(columns: Columns, mean: np.ndarray | None) -> Columns:
    found: Columns = {}
    for name, value in columns.items():
        if name != "effects":
            found[name] = value
            continue
        correlation = math.nan
        if mean is not None and len(value) == len(mean) and np.ptp(value) > 0 and np.ptp(mean) > 0:
            correlation = float(np.corrcoef(value, mean)[0, 1])
        found["affinity_score_error_correlation"] = correlation
    return found
