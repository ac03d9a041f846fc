"""How much a block of a network does, and how much of that an affine map could do.

A block maps its input x to its output y, row by row; the affinity score, which means something only near a positive
semi-definite map, is not for blocks. These numbers are:

``r2_heldout``
    The share of the variance of y that an affine map of x predicts for images it was not fitted on
    (``hf_affscore.score.held_out``). High wherever y is mostly the x that a residual stream carries.
``r2_heldout_update``
    The same of the update, y - x: what is left without the residual stream. An update that is small and hard to
    predict goes unseen in the number above. Undefined where x and y have different shapes. Attention and MLP are
    beside the residual stream, so their whole output is an update: they have this number and not the one above.
``update_cosine``
    The cosine between the update and the input of the block, over all entries of an image, averaged over images.
    Negative: the block removes from the stream what is there.
``update_norm``
    The norm of the update relative to that of the input of the block: the root of the mean square over images of
    one, divided by that of the other. Near 0 the block hardly changes its input.

The first two follow arXiv 2606.19379 (the variance that the best linear map explains on held-out data, *linear
recoverability*, there of MLPs token by token) and arXiv 2405.12250 (transformer layers with and without the
residual component, there on the data that the map was fitted to).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_affscore.score.held_out import r2_heldout

Array = npt.NDArray[np.float64]

#: Why a row has no number of one kind.
AROUND = "the residual stream runs around it"
SHAPES = "input and output have different shapes"
SHAPES_OF_PART = "its output has another shape than the input of its block"
NOTHING = "it adds nothing to its input"


def score_block(
    pre: Any, post: Any, products: Any, *, is_part: bool = False
) -> dict[str, float | str | None]:
    """The numbers of a block, or of a part of one.

    Args:
        pre: Pooled inputs, ``(n, d_in)``.
        post: Pooled outputs, ``(n, d_out)``.
        products: Of the input x of the block and the update u of each image ``(x . x, x . u, u . u)``, shape
            ``(n, 3)``; empty where they have different shapes.
        is_part: Whether it is attention or MLP, whose output is an update.

    Returns:
        ``r2_heldout``, ``r2_heldout_update``, ``update_cosine``, ``update_norm``, nan where undefined, and
        ``reason``: why some are, or None.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> products = np.stack([(x * x).sum(1), (x * x).sum(1), (x * x).sum(1)], axis=1)  # of u = x
        >>> found = score_block(x, 2 * x, products)
        >>> round(found["r2_heldout"], 6), found["update_cosine"], found["update_norm"]
        (1.0, 1.0, 1.0)
    """
    x, y = (np.asarray(side, dtype=np.float64) for side in (pre, post))
    cosine, norm = _update(np.asarray(products, dtype=np.float64))
    whole = with_update = math.nan
    reasons: list[str] = []
    if is_part:
        with_update = r2_heldout(x, y)
        reasons = [AROUND] if len(products) else [AROUND, SHAPES_OF_PART]
    else:
        whole = r2_heldout(x, y)
        if not len(products):
            reasons = [SHAPES]
        elif norm == 0:
            reasons = [NOTHING]
        else:
            with_update = r2_heldout(x, y - x)
    return {
        "r2_heldout": whole,
        "r2_heldout_update": with_update,
        "update_cosine": cosine,
        "update_norm": norm,
        "reason": "; ".join(reasons) or None,
    }


def _update(products: Array) -> tuple[float, float]:
    """Mean cosine and relative norm of the update; nan where there is none."""
    if not len(products):
        return math.nan, math.nan
    xx, xu, uu = products.T
    known = (xx > 0) & (uu > 0)  # an image whose update is zero has no cosine
    cosine = float(np.mean(xu[known] / np.sqrt(xx[known] * uu[known]))) if known.any() else math.nan
    return cosine, math.sqrt(uu.mean() / xx.mean()) if xx.mean() > 0 else math.nan
