"""The whole record of one layer: the score, how far it can be trusted, and its companions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from hf_affscore.errors import InputError
from hf_affscore.evidence import RIDGE_SHARE, Evidence, too_few
from hf_affscore.score.affinity import Solution, check_regularization, solve
from hf_affscore.score.arithmetic import own_arithmetic
from hf_affscore.score.arrays import as_row_pair, defect
from hf_affscore.score.gaussian import Gaussian, Regularization
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.statistics import STATISTICS
from hf_affscore.score.uncertainty import uncertainty

Columns = dict[str, float | int | str | tuple[float, ...] | None]

SCORES = (
    "affinity_score",
    "affinity_score_bound",
    "affinity_score_stderr",
    "affinity_score_low",
    "affinity_score_high",
    "limit_low",
    "limit_high",
    "identity_coupling_score",
)
RIDGE = ("ridge_share_pre", "ridge_share_post")
SHRUNK = ("affinity_score_shrunk",)
PARTS = ("affinity_score_group_mean", "affinity_score_group_std")


def score_layer(
    pre: Any, post: Any, *, shrinkage: bool, regularization: Regularization, num_groups: int = 1
) -> Columns:
    """Everything that is computed from the rows before and after one activation.

    Args:
        pre: Rows before the activation, ``(n, d)``; see :func:`hf_affscore.affinity_score`.
        post: Rows after it. Where they have another width there is no score, and ``reason`` says so; the
            statistics but ``norm`` are there.
        shrinkage: Whether to add ``affinity_score_shrunk``, the score with Ledoit-Wolf covariances.
        regularization: Ridge of both covariances, or ``"relative"``.
        num_groups: If above 1, the rows are also scored in this many disjoint parts of consecutive rows.

    Returns:
        One flat record. ``affinity_score``, and ``affinity_score_bound``, which the score of an optimal coupling
        does not exceed: equal but for some layers of very many samples. The standard error ``_stderr`` and the
        95 % interval ``_low`` to ``_high`` of its expectation at this number of samples; ``limit_low`` and
        ``limit_high``, between which the score of infinitely many lies (see
        :mod:`hf_affscore.score.uncertainty`); ``identity_coupling_score``; ``ridge_share_pre`` and ``_post``,
        the share of the ridge in the total variance; ``affinity_score_shrunk`` (with ``shrinkage``);
        ``affinity_score_group_mean`` and ``_group_std``, with divisor ``num_groups - 1`` (with groups); the
        :data:`~hf_affscore.score.statistics.STATISTICS`; ``evidence``: whether the score says anything about
        the activation, in a word of :data:`hf_affscore.evidence.WORDS`; ``reason``: why it does not, or what
        to keep in mind, or None. Beside these numbers and texts ``effects``: what groups of samples add to the
        score, which tells how the errors of two layers go together.

    Raises:
        InputError: The numbers of rows differ, the shapes are no ``(n, d)``, or there are not two rows for every
            group. What the rows contain never raises.

    Example:
        >>> x = np.linspace(-1, 1, 1000)
        >>> record = score_layer(x, x**3, shrinkage=False, regularization=1e-6)
        >>> round(record["affinity_score"], 4), round(record["r2"], 4), record["reason"]
        (0.7112, 0.84, None)
    """
    x, y = as_row_pair(pre, post, one_width=False)
    check_regularization(regularization)
    if num_groups < 1 or (num_groups > 1 and len(x) < 2 * num_groups):
        raise InputError(
            f"num_groups is {num_groups} for {len(x)} rows; expected 1 to {max(1, len(x) // 2)}."
        )
    reason = defect(x, y)
    names = [*RIDGE, *(SHRUNK if shrinkage else ()), *(PARTS if num_groups > 1 else ())]
    unknown: Columns = {**dict.fromkeys(SCORES, math.nan), "effects": (), **dict.fromkeys(names, math.nan)}
    if reason is not None:
        return unknown | dict.fromkeys(STATISTICS, math.nan) | {"evidence": "undefined", "reason": reason}
    layer = Layer(Sample(x), Sample(y))
    with own_arithmetic(x):
        if x.shape != y.shape:
            reason = f"{x.shape[1]} features become {y.shape[1]}; a score compares points of one space"
            return unknown | _companions(layer) | {"evidence": "undefined", "reason": reason}
        solution = solve(layer, shrinkage=False, regularization=regularization)
        known = uncertainty(solution)
        scores = [
            solution.score,
            solution.bound,
            known.standard_error,
            known.low,
            known.high,
            known.limit_low,
            known.limit_high,
            solution.identity_coupling_score,
        ]
        shares = [_ridge_share(side, regularization) for side in (layer.pre, layer.post)]
        record: Columns = dict(zip(SCORES, scores, strict=True))
        record |= {"effects": known.effects, **dict(zip(RIDGE, shares, strict=True))}
        evidence, reason = _evidence(solution, shares, layer.pre.shape)
        duals = solution.coupling.duals
        del solution  # as large as the layer itself
        if shrinkage:
            shrunk = solve(layer, shrinkage=True, regularization=regularization, duals=duals)
            record |= dict(zip(SHRUNK, [shrunk.score], strict=True))
        if num_groups > 1:
            record |= dict(zip(PARTS, _over_parts(layer, num_groups, regularization), strict=True))
        record |= _companions(layer)
    return {**record, "evidence": evidence, "reason": reason}


def _companions(layer: Layer) -> Columns:
    """All statistics of a layer."""
    return {name: function(layer) for name, function in STATISTICS.items()}


def _ridge_share(sample: Sample, regularization: Regularization) -> float:
    """The share of the ridge in the total variance; nan where there is no variance at all."""
    fitted = Gaussian.fit(sample, shrinkage=False, regularization=regularization)
    total = fitted.total_variance
    return fitted.ridge * sample.shape[1] / total if total > 0 else math.nan


def _evidence(
    solution: Solution, ridge_shares: list[float], shape: tuple[int, int]
) -> tuple[Evidence, str | None]:
    """Whether the score says anything about the activation, and why it does not."""
    n, d = shape
    if solution.transport is None:
        return "constant_output", solution.flag
    if solution.flag is not None:  # a constant input: without a ridge there would be no map
        return "ridge_dominates", solution.flag
    for side, share in zip(("input", "output"), ridge_shares, strict=True):
        if share > RIDGE_SHARE:
            return "ridge_dominates", f"the ridge is {100 * share:.0f} % of the variance of the {side}"
    if (few := too_few(n, d)) is not None:
        return "few_samples", few
    if solution.bound > solution.score:
        found = (
            f"the coupling of {n} samples is not proved optimal: the score is at most {solution.bound:.6f}"
        )
        return "ok", found
    return "ok", None


def _over_parts(layer: Layer, num_groups: int, regularization: Regularization) -> tuple[float, float]:
    """Mean and sample standard deviation of the scores of disjoint parts of consecutive rows."""
    n = layer.pre.shape[0]
    edges = [n * part // num_groups for part in range(num_groups + 1)]
    parts = [
        Layer(Sample(layer.pre.rows[start:end]), Sample(layer.post.rows[start:end]))
        for start, end in itertools.pairwise(edges)
    ]
    scores = [solve(part, shrinkage=False, regularization=regularization).score for part in parts]
    return float(np.mean(scores)), float(np.std(scores, ddof=1))
