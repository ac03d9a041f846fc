r"""The affine map of a block: a matrix and an offset that all positions share, with a ridge chosen on other images.

With :math:`x` the input and :math:`y` the output at one position, over all positions of the images, and centred,

.. math:: B = (\operatorname{cov}(x) + \lambda I)^{-1} \operatorname{cov}(x, y).

Where the output has the shape of the input, as in a residual block, the same is done for the update
:math:`y - x`: a large :math:`\lambda` then leaves the identity, not a constant. Half of the images are
fitted to for every :math:`\lambda`, the error on the other half chooses one, and the map is fitted to all of
them with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_affscore.capture.arguments import first_tensor
from hf_affscore.simplify.block_sites import BlockSite
from hf_affscore.simplify.sample import Part

#: The ridges to choose from, in units of the mean variance of an input channel.
RIDGES = tuple(10.0**exponent for exponent in range(-8, 3))


@dataclass(frozen=True)
class BlockFit:
    """The map of one block.

    Attributes:
        matrix: Shape ``(channels, outputs)``, float64.
        offset: Shape ``(outputs,)``.
        ridge: What was chosen of :data:`RIDGES`.
        r2: Share of the variance of the output that the map of the first half of the images explains on the
            other half; at most 1.
    """

    matrix: Tensor
    offset: Tensor
    ridge: float
    r2: float


@dataclass
class Products:
    """Sums of products over rows, in float64: of inputs ``x`` of shape ``(rows, channels)``, and outputs ``y``."""

    count: int = 0
    x: Tensor | float = 0.0
    y: Tensor | float = 0.0
    xx: Tensor | float = 0.0
    xy: Tensor | float = 0.0
    yy: Tensor | float = 0.0  # over all outputs, a number

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows."""
        x, y = x.double(), y.double()
        self.count += len(x)
        self.x, self.y = self.x + x.sum(0), self.y + y.sum(0)
        self.xx, self.xy, self.yy = self.xx + x.T @ x, self.xy + x.T @ y, self.yy + (y * y).sum()

    def __add__(self, other: Products) -> Products:
        sums = (getattr(self, name) + getattr(other, name) for name in ("count", "x", "y", "xx", "xy", "yy"))
        return Products(*sums)

    def means(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The same sums per row."""
        x, y, xx, xy, yy = map(torch.as_tensor, (self.x, self.y, self.xx, self.xy, self.yy))
        return x / self.count, y / self.count, xx / self.count, xy / self.count, yy / self.count

    def of_update(self) -> Products:
        """The same of ``y - x``."""
        x, y, xx, xy, yy = map(torch.as_tensor, (self.x, self.y, self.xx, self.xy, self.yy))
        return Products(self.count, x, y - x, xx, xy - xx, yy - 2 * xy.trace() + xx.trace())


def fit_blocks(model: nn.Module, sites: Sequence[BlockSite], images: Part) -> dict[str, BlockFit]:
    """The maps of these blocks on these images, by path.

    Args:
        model: In evaluation mode.
        sites: Blocks that can be replaced.
        images: What is run.
    """
    halves = [
        _products(model, sites, Part({name: value[which] for name, value in images.inputs.items()}, *rest))
        for rest in [(images.size, images.device)]
        for which in (slice(0, None, 2), slice(1, None, 2))
    ]
    return {site.path: fit(*(half[site.path] for half in halves), around=site.keeps_stream) for site in sites}


def fit(fitted: Products, others: Products, *, around: bool) -> BlockFit:
    """The map with the ridge that predicts the other rows best, fitted to all.

    Args:
        fitted: Rows that are fitted to for every ridge.
        others: Rows that choose the ridge.
        around: Whether the update is shrunk to zero, not the output.
    """
    sides = [side.of_update() if around else side for side in (fitted, others)]
    solutions = dict(zip(RIDGES, _solutions(sides[0], RIDGES), strict=True))
    errors = {ridge: _error(sides[1], *solution) for ridge, solution in solutions.items()}
    ridge = min(errors, key=errors.__getitem__)
    matrix, offset = next(_solutions(sides[0] + sides[1], [ridge]))
    _, y, _, _, yy = others.means()
    total = float(yy - y @ y)
    r2 = 1 - errors[ridge] / total if total > 0 else 1.0
    return BlockFit(matrix + torch.eye(len(matrix)).to(matrix) if around else matrix, offset, ridge, r2)


def _solutions(sums: Products, ridges: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Matrix and offset for every ridge, by one decomposition."""
    x, y, xx, xy, _ = sums.means()
    covariance = xx - torch.outer(x, x)
    values, vectors = torch.linalg.eigh(covariance)
    along = vectors.T @ (xy - torch.outer(x, y))
    unit = float(covariance.trace()) / len(x)
    for ridge in ridges:
        scaled = (
            along / (values.clamp(min=0) + ridge * unit)[:, None] if unit > 0 else torch.zeros_like(along)
        )
        matrix = vectors @ scaled
        yield matrix, y - x @ matrix


def _error(sums: Products, matrix: Tensor, offset: Tensor) -> float:
    """The mean over rows of the squared error of a map."""
    x, y, xx, xy, yy = sums.means()
    predicted = ((xx @ matrix) * matrix).sum() + 2 * (x @ matrix) @ offset + offset @ offset
    return float(yy - 2 * (xy * matrix).sum() - 2 * y @ offset + predicted)


def _products(model: nn.Module, sites: Sequence[BlockSite], images: Part) -> dict[str, Products]:
    found = {site.path: Products() for site in sites}
    inputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for site in sites:

            def begins(module: nn.Module, args: Any, kwargs: Any, site: BlockSite = site) -> None:
                inputs[site.path] = _tensor_of((*args, *kwargs.values())).clone()  # it may work in place

            def ends(module: nn.Module, args: Any, output: Any, site: BlockSite = site) -> None:
                found[site.path].add(*site.rows(inputs.pop(site.path), _tensor_of(output)))

            module = model.get_submodule(site.path)
            stack.callback(module.register_forward_pre_hook(begins, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(ends).remove)
        images.run_through(model)
    return found


def _tensor_of(values: Any) -> Tensor:
    """The tensor among arguments or outputs of a block that can be replaced: there is one."""
    tensor = first_tensor(values)
    assert tensor is not None
    return tensor


def as_module(site: BlockSite, fit: BlockFit, *, trainable: bool) -> nn.Module:
    """The map as an ordinary module, with numbers of the format of its input."""
    inputs, outputs = fit.matrix.shape
    made = site.layer(inputs, outputs)
    assert site.seen is not None
    like = _tensor_of((*site.seen.args, *site.seen.kwargs.values()))
    with torch.no_grad():
        weight = fit.matrix.T.reshape(made.weight.shape)
        made.weight = nn.Parameter(weight.to(like.device, like.dtype), requires_grad=trainable)
        made.bias = nn.Parameter(fit.offset.to(like.device, like.dtype), requires_grad=trainable)
    return site.stand_in(made.eval())
