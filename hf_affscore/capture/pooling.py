"""How the tensor of an activation becomes one row per image: ``(N, ...)`` to ``(N, d)``.

``paper``
    The mean over every axis after the second, the paper's convention for three and four dimensions
    ((N, a, b, c) over the last two, (N, a, b) over the last, (N, a) as it is) continued to five and more.
    The axis that it keeps depends on the layout: channels of a convolution, tokens of a ViT, image rows of a
    channels-last layer such as Swin's.
``channels``
    The mean over all axes but the channels, wherever the channels are (:mod:`hf_affscore.capture.layout`
    determines their axis).
``positions``
    One position (pixel or token) per image, drawn at random with a seed, with all its channels: samples are
    positions, not averages. One per image, so that samples are independent. ``tokens`` is another name.
``none``
    All entries, flattened; up to :data:`WIDTH_LIMIT` features.

In all of them, windows, patches or queries that a model folds into the batch are a separate axis after the first.

Rows are pooled in float32, or in float64 if the tensor is float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hf_affscore.capture.batch_axis import Skip, check_rows
from hf_affscore.options import Pooling

#: Features that ``none`` keeps at most: 2,048 images of this width take 128 MB, on either side of a call.
WIDTH_LIMIT = 16_384


def pool(
    tensor: Tensor,
    pooling: Pooling,
    batch_size: int,
    *,
    channel_axis: int = 1,
    draws: Tensor | None = None,
) -> Tensor:
    """One row per image, ``(batch_size, d)``, never a view of ``tensor``.

    Args:
        tensor: Input or output of an activation, ``(batch_size, ...)``.
        pooling: Name of the rule.
        batch_size: Images in the forward pass.
        channel_axis: Axis of the channels, for ``channels`` and ``positions``.
        draws: One number in [0, 1) per image, which selects its position for ``positions``; default: the
            middle position.

    Raises:
        Skip: The tensor has no row per image; the message gives the reason.

    Example:
        >>> pool(torch.ones(2, 3, 8, 8), "paper", batch_size=2).shape
        torch.Size([2, 3])
        >>> pool(torch.ones(2, 8, 8, 3), "channels", batch_size=2, channel_axis=3).shape
        torch.Size([2, 3])
    """
    check_rows(tensor, batch_size)
    tensor = tensor.detach()
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    if tensor.ndim <= 2 or pooling == "none":
        width = math.prod(tensor.shape[1:])
        if pooling == "none" and width > WIDTH_LIMIT:
            raise Skip(f"{width} features without pooling; at most {WIDTH_LIMIT} are kept")
        return tensor.reshape(batch_size, width).to(dtype, copy=True)
    if pooling in ("positions", "tokens"):
        return _at_positions(tensor, channel_axis, draws).to(dtype, copy=True)
    kept = 1 if pooling == "paper" else channel_axis
    return tensor.mean(dim=[axis for axis in range(1, tensor.ndim) if axis != kept], dtype=dtype)


def _at_positions(tensor: Tensor, channel_axis: int, draws: Tensor | None) -> Tensor:
    """The channels at one position of each image, ``(N, C)``."""
    channels_last = tensor.movedim(channel_axis, -1)
    extent = channels_last.shape[1:-1]
    count = math.prod(extent)
    draws = torch.full((len(tensor),), 0.5) if draws is None else draws
    chosen = (draws.to(torch.float64) * count).long().clamp_(max=count - 1)
    chosen = chosen.to(tensor.device, non_blocking=True)  # from pageable memory, which is read at once
    images = torch.arange(len(tensor), device=tensor.device)
    return channels_last[(images, *torch.unravel_index(chosen, extent))]
