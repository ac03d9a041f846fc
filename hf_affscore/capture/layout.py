"""Which axis of a tensor holds its channels, where the shape alone does not say.

``(16, 56, 56, 96)`` may be 56 channels or 96. What decides is the last layer with weights before the
activation: a convolution writes its channels to axis 1, a linear layer to the last axis. The tensor may have
been permuted in between (a channels-last LayerNorm around a convolution), so of these two axes the one that
has as many entries as that layer has channels wins, and the layer's own axis if both have, or neither (a
split gate). Before the first such layer: axis 1 of four dimensions and more, else the last.

And whose rows its first axis holds. Some models fold windows, patches or queries into the batch: ``(N, k, ...)``
becomes ``(N * k, ...)``. A reshape keeps the order of the entries, so rows that it made from a first axis of N
are k rows of the first image, then k of the second. Where a first axis of that length came about in another way
too (concatenation, repetition, indexing), its rows may hold the windows first, and are not taken apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from torch import Tensor

from hf_affscore.capture.activations import forms
from hf_affscore.capture.exotic import is_plain

#: Functions with weights, and the axis they write their channels to.
WRITERS = {
    1: ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    -1: ("linear", "addmm"),
}


#: Functions that change the shape and keep the order of the entries.
RESHAPES = ("flatten", "reshape", "reshape_as", "unflatten", "view", "view_as")

#: Functions that may put the rows of a tensor into another order, and leave their number as it is.
REORDERS = (
    *("__getitem__", "argsort", "flip", "flipud", "gather", "index_select", "roll", "sort", "take_along_dim"),
    *("movedim", "moveaxis", "permute", "rot90", "swapaxes", "swapdims", "t", "transpose"),
)


@cache
def _writers() -> dict[Callable[..., Any], int]:
    return {form: axis for axis, names in WRITERS.items() for form in forms(*names)}


@cache
def _reshapes() -> frozenset[Callable[..., Any]]:
    return frozenset(forms(*RESHAPES))


@cache
def _reorders() -> frozenset[Callable[..., Any]]:
    return frozenset(forms(*REORDERS))


class Layout:
    """Follows a forward pass from one function to the next.

    Example:
        >>> import torch
        >>> layout = Layout()
        >>> layout.after(torch.conv2d, (), torch.ones(16, 96, 56, 56))
        >>> layout.channel_axis(torch.ones(16, 96, 56, 56)), layout.channel_axis(torch.ones(16, 56, 56, 96))
        (1, 3)
        >>> layout.after(torch.reshape, (torch.ones(2, 4, 96),), windows := torch.ones(8, 96))
        >>> layout.folded_from(windows)
        2
    """

    def __init__(self) -> None:
        self._axis: int | None = None
        self._width = 0
        self._sources: defaultdict[int, set[int | None]] = defaultdict(set)

    def after(self, function: Callable[..., Any], args: tuple[Any, ...], output: object) -> None:
        """Note a function that has run: the channels that it wrote, and the first axis that it made."""
        if not isinstance(output, Tensor) or not is_plain(output) or output.ndim == 0:
            return
        axis = _writers().get(function)
        if axis is not None and output.ndim > 1:
            self._axis, self._width = axis, output.shape[axis]
        rows, source = len(output), next(_rows(args), None)
        if source != rows:
            self._sources[rows].add(source if function in _reshapes() else None)
        elif function in _reorders() and not _is_view_of_rows(output, args[0]):
            self._sources[rows].add(None)

    def folded_from(self, tensor: Tensor) -> int | None:
        """The length of the first axis before others were folded into it; None where that is not certain."""
        sources = self._sources.get(len(tensor), set()) if tensor.ndim else set()
        return next(iter(sources)) if len(sources) == 1 else None

    def channel_axis(self, tensor: Tensor) -> int:
        """The axis that holds the channels of an activation's input."""
        last = tensor.ndim - 1
        if last < 2:
            return last
        if self._axis is None:
            return 1 if tensor.ndim >= 4 else last
        fits = [axis for axis in (1, last) if tensor.shape[axis] == self._width]
        return fits[0] if len(fits) == 1 else self._axis % tensor.ndim


def _is_view_of_rows(output: Tensor, source: Any) -> bool:
    """Whether a tensor shows the memory of another with each row where it was."""
    return (
        isinstance(source, Tensor)
        and is_plain(source)
        and output.untyped_storage()._cdata == source.untyped_storage()._cdata
        and output.stride(0) == source.stride(0)
    )


def _rows(args: tuple[Any, ...]) -> Iterator[int]:
    """Lengths of the first axes of the tensors among the arguments."""
    for value in args:
        if isinstance(value, Tensor):
            yield value.shape[0] if is_plain(value) and value.ndim else 0
        elif isinstance(value, tuple | list):
            yield from _rows(tuple(value))
