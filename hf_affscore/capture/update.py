"""What a block adds to its input, image by image, measured on whole tensors before they are pooled.

The *update* of a block is its output less its input. Attention and MLP do not hold the residual stream, which runs
around them: their update is their output, and its counterpart is the input of the block that they are in. For the
input x of the block and the update u of one image three products are kept: ``(x . x, x . u, u . u)``, sums over all
entries in float64. They give cosines and norms (:mod:`hf_affscore.score.block`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_affscore.capture.batch_axis import by_image
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summarize, Summary, in_float64
from hf_affscore.options import Pooling

#: Entries of each image that are multiplied at a time.
_TOGETHER = 1 << 11


class SummarizeBlocks(Summarize):
    """Makes a :class:`Summary` of the input and then of the output of every block and part of one.

    Sparsity, which is about activations, is not measured.

    Args:
        pooling: How a tensor becomes one row per image.
        seed: Seed of the positions for ``positions`` pooling.

    Example:
        >>> summarize = SummarizeBlocks("channels", seed=0)
        >>> summarize.start([0])
        >>> site = CallSite("layer1.0", "BasicBlock", 0, "module", part="block")
        >>> _ = summarize(torch.tensor([[3.0, 4.0]]), site)
        >>> summarize(torch.tensor([[3.0, 5.0]]), site).products
        array([[25.,  4.,  1.]])
    """

    def __init__(self, pooling: Pooling, *, seed: int) -> None:
        super().__init__(pooling, num_samples=0, sparsity_samples=0, seed=seed)
        self._inputs: dict[CallSite, Tensor] = {}  # of what is running, outermost first

    def start(self, images: Sequence[int]) -> None:
        """Set the images of the next pass, as :meth:`Summarize.start`."""
        super().start(images)
        self._inputs.clear()  # a pass that failed left some

    def __call__(self, tensor: Tensor, site: CallSite) -> Summary:
        """Summarise a tensor of shape ``(n, ...)``: the input or the output of a call.

        Raises:
            Skip: It has no row per image.
        """
        given = self._inputs.pop(site, None)
        by_images, axis = by_image(tensor, len(self._images), site)
        rows = self._rows(by_images, axis)
        if given is None:
            self._inputs[site] = tensor.clone()  # the block may overwrite it
            return Summary(rows, np.empty(0))
        stream = given if site.part == "block" else self._stream_around(site)
        if stream is None or stream.shape != tensor.shape or len(stream) != len(rows):
            return Summary(rows, np.empty(0))
        products = _products(stream, tensor, added=site.part != "block")
        return Summary(rows, np.empty(0), self._in_main_memory(in_float64(products)))

    def _stream_around(self, site: CallSite) -> Tensor | None:
        """The input of the innermost block that a part is in."""
        around = (
            kept
            for block, kept in reversed(self._inputs.items())
            if block.part == "block" and site.module.startswith(f"{block.module}.")
        )
        return next(around, None)


def _products(stream: Tensor, output: Tensor, *, added: bool) -> Tensor:
    """The three products of each image, on the device of the output.

    Summed in the order of memory and a few entries at a time, whose copies stay in a core's cache.

    Args:
        stream: The input of the block, which may lie on another device than its output.
        output: The output.
        added: Whether the output is what is added to the stream.
    """
    stream = stream.to(output.device)
    exact = torch.float32 if stream.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    order = [0, *sorted(range(1, stream.ndim), key=stream.stride, reverse=True)]
    x, y = (side.permute(order).reshape(len(side), -1) for side in (stream, output))
    products = torch.zeros(len(x), 3, dtype=exact, device=x.device)
    for a, b in zip(*(torch.split(side, _TOGETHER, dim=1) for side in (x, y)), strict=True):
        a, b = a.to(exact), b.to(exact)
        u = b if added else b - a
        products += torch.stack([torch.linalg.vecdot(*pair) for pair in ((a, a), (a, u), (u, u))], dim=1)
    return products
