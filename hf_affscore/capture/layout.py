"""Determines which axis of a tensor holds its channels, which the shape alone does not show.

``(16, 56, 56, 96)`` may have 56 channels or 96. The last layer with weights before the activation decides: a
convolution writes its channels to axis 1, a linear layer to the last axis. The tensor may have been permuted in
between (a channels-last LayerNorm around a convolution), so the axis is the one of these two that has as many
entries as that layer has channels. If both or neither have (a split gate), it is the layer's own axis. Before the
first such layer it is axis 1 for four or more dimensions, else the last.

:mod:`hf_affscore.capture.batch_axis` decides whether the first axis is the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from hf_affscore.capture.activations import forms
from hf_affscore.capture.batch_axis import FirstAxis
from hf_affscore.capture.exotic import is_plain

#: Functions with weights, and the axis they write their channels to.
WRITERS = {
    1: ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    -1: ("linear", "addmm"),
}


@cache
def _writers() -> dict[Callable[..., Any], int]:
    return {form: axis for axis, names in WRITERS.items() for form in forms(*names)}


class Layout:
    """Follows the function calls of a forward pass.

    Example:
        >>> import torch
        >>> layout = Layout()
        >>> layout.after(torch.conv2d, (), torch.ones(16, 96, 56, 56))
        >>> layout.channel_axis(torch.ones(16, 96, 56, 56)), layout.channel_axis(torch.ones(16, 56, 56, 96))
        (1, 3)
    """

    def __init__(self) -> None:
        self._axis: int | None = None
        self._width = 0
        self.first_axis = FirstAxis()

    def after(self, function: Callable[..., Any], args: tuple[Any, ...], output: object) -> None:
        """Record a function call: the channels that it wrote, and the first axis that it made."""
        if not isinstance(output, Tensor) or not is_plain(output) or output.ndim == 0:
            return
        axis = _writers().get(function)
        if axis is not None and output.ndim > 1:
            self._axis, self._width = axis, output.shape[axis]
        self.first_axis.after(function, args, output)

    def channel_axis(self, tensor: Tensor) -> int:
        """The axis that holds the channels of an activation's input."""
        last = tensor.ndim - 1
        if last < 2:
            return last
        if self._axis is None:
            return 1 if tensor.ndim >= 4 else last
        fits = [axis for axis in (1, last) if tensor.shape[axis] == self._width]
        return fits[0] if len(fits) == 1 else self._axis % tensor.ndim
