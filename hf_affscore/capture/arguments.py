"""The tensor of a call, among its arguments or outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_affscore.capture.layout import Layout


def first_tensor(values: Any) -> Tensor | None:
    """The first tensor of arguments, or of an output: a tensor, or several values."""
    values = values if isinstance(values, tuple | list) else (values,)
    return next((value for value in values if isinstance(value, Tensor)), None)


def joined(given: Any, layout: Layout) -> tuple[Tensor | None, int | None]:
    """A list of tensors with their channels joined, as DenseNet joins them, and the axis of these; else None.

    Args:
        given: What a block is given.
        layout: Knows the axis of the channels of the last tensor, which is that of all.

    Example:
        >>> whole, axis = joined([torch.zeros(2, 5, 8, 8), torch.zeros(2, 3, 8, 8)], Layout())
        >>> tuple(whole.shape), axis
        ((2, 8, 8, 8), 1)
    """
    if not isinstance(given, list | tuple) or not given or not all(isinstance(x, Tensor) for x in given):
        return None, None
    axis = layout.channel_axis(given[-1])
    if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in given}) > 1:
        return None, None
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return torch.cat(list(given), axis), axis
