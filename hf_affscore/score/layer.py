"""The whole record of one layer: the score, its companions and what is to be kept in mind about them."""

from __future__ import annotations

import math
from typing import Any

from hf_affscore.score.affinity import check_regularization, score_rows
from hf_affscore.score.arrays import as_row_pair, defect
from hf_affscore.score.gaussian import Regularization
from hf_affscore.score.statistics import STATISTICS
from hf_affscore.score.threads import one_blas_thread

Columns = dict[str, float | int | str | None]


def score_layer(pre: Any, post: Any, *, shrinkage: bool, regularization: Regularization) -> Columns:
    """Everything that is computed from the rows before and after one activation.

    Args:
        pre: Rows before the activation, ``(n, d)``; see :func:`hf_affscore.score.affinity_score`.
        post: Rows after it.
        shrinkage: Whether to add ``affinity_score_shrunk``, the score with Ledoit-Wolf covariances.
        regularization: Ridge of both covariances, or ``"relative"``.

    Returns:
        One flat record: ``affinity_score``, ``affinity_score_shrunk`` (with ``shrinkage``),
        ``identity_coupling_score``, the :data:`~hf_affscore.score.statistics.STATISTICS`, and ``reason``:
        why the numbers are nan, or what to keep in mind about them, or None.

    Raises:
        InputError: The shapes differ or are no ``(n, d)``. What the rows contain never raises.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 1000)
        >>> record = score_layer(x, x**3, shrinkage=False, regularization=1e-6)
        >>> round(record["affinity_score"], 4), round(record["r2"], 4), record["reason"]
        (0.7112, 0.84, None)
    """
    x, y = as_row_pair(pre, post)
    check_regularization(regularization)
    names = ["affinity_score", *(["affinity_score_shrunk"] if shrinkage else []), "identity_coupling_score"]
    reason = defect(x, y)
    if reason is not None:
        return {**dict.fromkeys([*names, *STATISTICS], math.nan), "reason": reason}
    with one_blas_thread():
        affinity = score_rows(x, y, shrinkage=False, regularization=regularization)
        scores = {"affinity_score": affinity.score}
        if shrinkage:
            shrunk = score_rows(x, y, shrinkage=True, regularization=regularization)
            scores["affinity_score_shrunk"] = shrunk.score
        scores["identity_coupling_score"] = affinity.identity_coupling_score
        statistics = {name: function(x, y) for name, function in STATISTICS.items()}
    return {**scores, **statistics, "reason": affinity.flag}
