"""Decides whether the first axis of a tensor is the batch; all other code relies on this module.

For a batch of N images, the first axis of a tensor is the batch:

1. if it has N entries;
2. if it has ``N * k`` entries that a reshape made from a first axis of N. Some models fold windows, patches or
   queries into the batch; a reshape keeps the order of the entries, so the first axis has k rows of the first
   image, then k of the second, and is split into ``(N, k, ...)``;
3. otherwise not. If a first axis of that length also arose in another way (concatenation, repetition, indexing),
   its rows may be ordered by window, and a wrong order would give a plausible but wrong score.

A model that packs the patches of several images into one sequence has no such axis. Its images run one by one, and
every first axis holds rows of the one image.

Rule 1 is wrong for an axis that has N entries by chance. One batch cannot show that: before an analysis, a few
images run in batches of other sizes, and calls without a row per image there are skipped
(:mod:`hf_affscore.run.probe`).

:class:`FirstAxis` follows a forward pass, :func:`by_image` splits a folded axis, :func:`check_rows` refuses other
tensors, and :func:`windows` gives the folded axis of a shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from hf_affscore.capture.activations import forms
from hf_affscore.capture.exotic import is_plain
from hf_affscore.capture.sites import CallSite

#: Functions that change the shape and keep the order of the entries.
RESHAPES = ("flatten", "reshape", "reshape_as", "unflatten", "view", "view_as")

#: Functions that may change the order of the rows of a tensor, but not their number.
REORDERS = (
    *("__getitem__", "argsort", "flip", "flipud", "gather", "index_select", "roll", "sort", "take_along_dim"),
    *("movedim", "moveaxis", "permute", "rot90", "swapaxes", "swapdims", "t", "transpose"),
)


class Skip(Exception):
    """Raised if a call cannot be scored; the message is the reason."""


class FirstAxis:
    """Follows the function calls of a forward pass, to know where first axes come from.

    Example:
        >>> import torch
        >>> axes = FirstAxis()
        >>> axes.after(torch.reshape, (torch.ones(2, 4, 96),), windows := torch.ones(8, 96))
        >>> axes.folded_from(windows)
        2
    """

    def __init__(self) -> None:
        self._sources: defaultdict[int, set[int | None]] = defaultdict(set)

    def after(self, function: Callable[..., Any], args: tuple[Any, ...], output: Tensor) -> None:
        """Note the first axis that a function has made."""
        rows, source = len(output), next(_rows(args), None)
        if source != rows:
            self._sources[rows].add(source if function in _reshapes() else None)
        elif function in _reorders() and not _is_view_of_rows(output, args[0]):
            self._sources[rows].add(None)

    def folded_from(self, tensor: Tensor) -> int | None:
        """The length of the first axis before others were folded into it; None if that is not certain."""
        sources = self._sources.get(len(tensor), set()) if tensor.ndim else set()
        return next(iter(sources)) if len(sources) == 1 else None


def by_image(tensor: Tensor, batch_size: int, site: CallSite) -> tuple[Tensor, int]:
    """The tensor with one entry per image on its first axis, and the axis of its channels.

    A tensor whose first axis is not the batch is left as it is, and :func:`check_rows` refuses it.

    Example:
        >>> import torch
        >>> folded = CallSite("block", "ReLU", 0, "module", channel_axis=2, folded_from=2)
        >>> tensor, channel_axis = by_image(torch.ones(8, 49, 96), 2, folded)
        >>> tuple(tensor.shape), channel_axis
        ((2, 4, 49, 96), 3)
    """
    folded = tensor.ndim > 0 and len(tensor) != batch_size and site.folded_from == batch_size
    if folded and batch_size and len(tensor) % batch_size == 0:
        return tensor.reshape(batch_size, len(tensor) // batch_size, *tensor.shape[1:]), site.channel_axis + 1
    return tensor, site.channel_axis


def check_rows(tensor: Tensor, batch_size: int) -> None:
    """Refuse a tensor without a row of numbers for each image.

    Raises:
        Skip: Its first axis is not the batch, or it holds no floating-point numbers.
    """
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        raise Skip(f"{tensor.dtype} values of shape {shape}; floating point was expected")
    if tensor.ndim == 0 or shape[0] != batch_size:
        reason = f"shape {shape} has no row per image; a first dimension of {batch_size} was expected"
        if tensor.ndim > 0 and shape[0] > batch_size > 1 and shape[0] % batch_size == 0:
            reason += (
                "; the images may have several rows each, but nothing shows which rows belong to which image"
            )
        raise Skip(reason)
    if tensor.numel() == 0:
        raise Skip(f"shape {shape} is empty")


def windows(shape: Sequence[int], batch_size: int) -> tuple[int, ...]:
    """The axis that was folded into the batch, from the shape of a call with a row per image; empty if none was.

    Example:
        >>> windows((8, 49, 96), batch_size=2), windows((2, 49, 96), batch_size=2)
        ((4,), ())
    """
    return (shape[0] // batch_size,) if shape[0] > batch_size else ()


@cache
def _reshapes() -> frozenset[Callable[..., Any]]:
    return frozenset(forms(*RESHAPES))


@cache
def _reorders() -> frozenset[Callable[..., Any]]:
    return frozenset(forms(*REORDERS))


def _is_view_of_rows(output: Tensor, source: Any) -> bool:
    """Whether ``output`` is a view of ``source`` with its rows in the same places."""
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
