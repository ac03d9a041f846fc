"""How the tensor of an activation becomes one row per image: ``(N, ...)`` to ``(N, d)``.

``"paper"`` averages over every axis after the second, the paper's convention for three and four dimensions
((N, a, b, c) over the last two, (N, a, b) over the last, (N, a) as it is) continued to five and more. Which
axis that keeps depends on the layout: channels of a convolution, tokens of a ViT, image rows of a
channels-last layer such as Swin's.

Pooled in float32, or in float64 where the tensor already is.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["paper"]


class Skip(Exception):
    """Raised to say that a call is not scored; the text is the reason."""


def pool(tensor: Tensor, pooling: Pooling, batch_size: int) -> Tensor:
    """One row per image, ``(batch_size, d)``, in memory of its own.

    A tensor whose first dimension is a multiple of the batch size (windows, patches, proposals) is not
    folded back: the shape does not tell whether the images or the windows come first, and rows in the wrong
    order would give a plausible wrong score.

    Args:
        tensor: Input or output of an activation, ``(batch_size, ...)``.
        pooling: Name of the rule.
        batch_size: Images in the forward pass.

    Raises:
        Skip: The tensor has no row per image; the text says why.

    Example:
        >>> pool(torch.ones(2, 3, 8, 8), "paper", batch_size=2).shape
        torch.Size([2, 3])
    """
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        raise Skip(f"{tensor.dtype} values of shape {shape}; floating point was expected")
    if tensor.ndim == 0 or shape[0] != batch_size:
        raise Skip(f"shape {shape} has no row per image; a first dimension of {batch_size} was expected")
    if tensor.numel() == 0:
        raise Skip(f"shape {shape} is empty")
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    if tensor.ndim <= 2:
        return tensor.detach().reshape(batch_size, -1).to(dtype, copy=True)
    return tensor.detach().mean(dim=tuple(range(2, tensor.ndim)), dtype=dtype)
