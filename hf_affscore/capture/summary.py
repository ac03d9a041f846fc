"""The summary of one activation tensor: a row per image, and the share of its entries near zero.

Sparsity is the share of entries of the unpooled tensor with an absolute value of at most 1e-3 (the paper). Counting
them costs more than the rest of the capture, so by default it is done for a seeded subset of the images. The shares
are kept per image, which gives the standard error of their mean.

On an accelerator both are computed there, in the stream that the call runs in, and copied to main memory without a
wait; :meth:`Summarize.wait` waits once for all copies of a pass.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hf_affscore.capture.batch_axis import by_image
from hf_affscore.capture.pooling import pool
from hf_affscore.capture.row_buffer import RowBuffer
from hf_affscore.capture.sites import CallSite
from hf_affscore.options import Pooling

NEAR_ZERO = 1e-3
_BLOCK = 1 << 16  # entries counted at once, so that they fit into the cache of a core


@dataclass(frozen=True)
class Summary:
    """The summary of one activation tensor of one batch.

    Attributes:
        rows: Pooled features, shape ``(n, d)``, float32 or float64; one row per image.
        near_zero: Share of entries near zero, one number for each image that it was measured on.
        products: Of the output of a block, one line per image (:mod:`hf_affscore.capture.update`); else empty.
    """

    rows: npt.NDArray[np.floating]
    near_zero: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))

    def first(self, number: int) -> Summary:
        """The rows of the first images; shares near zero are kept whole, since only images have them."""
        return Summary(self.rows[:number], self.near_zero, self.products[:number])

    @classmethod
    def concatenate(cls, parts: Sequence[Summary]) -> Summary:
        """Join the parts of one batch, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            rows=np.concatenate([part.rows for part in parts]),
            near_zero=np.concatenate([part.near_zero for part in parts]),
            products=np.concatenate([part.products for part in parts]),
        )


class Summarize:
    """Makes a :class:`Summary` of every tensor of a batch. Call :meth:`start` before each forward pass.

    On an accelerator a summary has its values only when :meth:`wait` has returned.

    Args:
        pooling: How a tensor becomes one row per image.
        num_samples: Number of images in total.
        sparsity_samples: Number of images on which sparsity is measured, drawn at random.
        seed: Seed of that draw, and of the positions for ``positions`` pooling.

    Example:
        >>> summarize = Summarize("paper", num_samples=2, sparsity_samples=2, seed=0)
        >>> summarize.start([0, 1])
        >>> summarize(torch.tensor([[0.0, 2.0], [1.0, 3.0]]), CallSite("relu", "ReLU", 0, "module")).near_zero
        array([0.5, 0. ])
    """

    def __init__(self, pooling: Pooling, *, num_samples: int, sparsity_samples: int, seed: int) -> None:
        self._pooling = pooling
        self._seed = seed
        count = min(sparsity_samples, num_samples)
        drawn = np.random.default_rng(seed).choice(num_samples, count, replace=False)
        self._measured = frozenset(drawn.tolist())
        self._images: Sequence[int] = ()
        self._buffer = RowBuffer()
        self._streams: set[Any] = set()  # of accelerators, with copies that may not be finished
        self._draws: Tensor | None = None

    def start(self, images: Sequence[int]) -> None:
        """Set the images of the next pass, by their number in the stream; draws depend on these numbers alone."""
        self._images = images
        self._buffer = RowBuffer()
        self._streams.clear()
        if self._pooling in ("positions", "tokens"):
            draws = [np.random.default_rng([self._seed, image]).random() for image in images]
            self._draws = torch.tensor(draws, dtype=torch.float64)

    def wait(self) -> None:
        """Wait for the copies from accelerators. Call it after each forward pass that succeeds."""
        for stream in self._streams:
            stream.synchronize()
        self._streams.clear()

    def __call__(self, tensor: Tensor, site: CallSite) -> Summary:
        """Summarise a tensor of shape ``(n, ...)``: the input or the output of a call.

        Raises:
            Skip: It has no row per image.
        """
        tensor, axis = by_image(tensor, len(self._images), site)
        return Summary(self._rows(tensor, axis), self._near_zero(tensor))

    def _rows(self, tensor: Tensor, channel_axis: int) -> npt.NDArray[np.floating]:
        images = len(self._images)
        rows = pool(tensor, self._pooling, images, channel_axis=channel_axis, draws=self._draws)
        return self._in_main_memory(rows)

    def _near_zero(self, tensor: Tensor) -> npt.NDArray[np.float64]:
        images = [tensor[row] for row, image in enumerate(self._images) if image in self._measured]
        if not images or tensor.device.type == "cpu":
            return near_zero_shares(images)
        exact = torch.promote_types(tensor.dtype, torch.float32)  # which has the limit in full
        counts = torch.stack([torch.count_nonzero(image.to(exact).abs() <= NEAR_ZERO) for image in images])
        return self._in_main_memory(in_float64(counts) / images[0].numel())

    def _in_main_memory(self, tensor: Tensor) -> npt.NDArray[Any]:
        """The values in main memory: a copy in page-locked memory, from CUDA, that :meth:`wait` waits for."""
        if tensor.device.type == "cpu":
            return self._buffer.keep(tensor.numpy())
        library: Any = getattr(torch, tensor.device.type, None)
        if not hasattr(library, "current_stream"):  # Apple's accelerators have a single one
            return tensor.cpu().numpy()
        self._streams.add(library.current_stream(tensor.device))
        return tensor.to("cpu", non_blocking=True).numpy()


def in_float64(tensor: Tensor) -> Tensor:
    """In float64, where the tensor is; from Apple's accelerators, which have no float64, in main memory."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)


def near_zero_shares(images: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    """:func:`near_zero_share` of every image, shape ``(n,)``, in as many threads as torch uses.

    Counting is limited by memory bandwidth, which one core cannot saturate.
    """
    shares = np.empty(len(images))
    threads = min(torch.get_num_threads(), len(images))

    def count(first: int) -> None:
        for image in range(first, len(images), threads):
            shares[image] = near_zero_share(images[image])

    if threads > 1:
        list(_pool(torch.get_num_threads()).map(count, range(threads)))
    elif images:
        count(0)
    return shares


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="near-zero")


class _Scratch(threading.local):
    """A buffer per thread; made once, since allocating new memory costs more than counting."""

    def __init__(self) -> None:
        self.found = np.empty(_BLOCK, dtype=bool)


_scratch = _Scratch()


def near_zero_share(tensor: Tensor) -> float:
    """Share of entries in main memory with an absolute value of at most 1e-3; nan is not near zero.

    Counted in numpy, block by block: five to twenty times faster than ``(x.abs() <= 1e-3).sum()`` in torch, which
    writes and reads a copy of the tensor.

    Example:
        >>> near_zero_share(torch.tensor([-2.0, 0.0, 2.0, 3.0]))
        0.25
    """
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    entries = tensor.to(dtype).numpy().ravel(order="K")  # in the order of memory: no copy
    near = 0
    for start in range(0, entries.size, _BLOCK):
        block = entries[start : start + _BLOCK]
        found = _scratch.found[: block.size]
        near += int(np.count_nonzero(np.less_equal(block, NEAR_ZERO, out=found)))
        near -= int(np.count_nonzero(np.less(block, -NEAR_ZERO, out=found)))
    return near / entries.size


def sparsity(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Mean share of near-zero entries over the measured images, and its standard error.

    Every image has the same weight. The error is the standard error of a mean over k of n images drawn without
    replacement, s / sqrt(k) * sqrt(1 - k / n): zero if all were measured, nan if too few were to estimate it.

    Example:
        >>> rows = np.zeros((2, 1))
        >>> sparsity([Summary(rows, np.array([0.25, 0.75]))])
        (0.5, 0.0)
    """
    shares = np.concatenate([summary.near_zero for summary in summaries])
    images = sum(len(summary.rows) for summary in summaries)
    if shares.size == 0:
        return math.nan, math.nan
    if shares.size == images:
        return float(shares.mean()), 0.0
    if shares.size == 1:
        return float(shares[0]), math.nan
    error = shares.std(ddof=1) * math.sqrt((1 - shares.size / images) / shares.size)
    return float(shares.mean()), float(error)
