r"""The affine map of an activation: one slope and one offset per channel, of least squared error.

With :math:`x` the input and :math:`y` the output of one channel, over all images and positions,

.. math:: a = \frac{\operatorname{cov}(x, y)}{\operatorname{var}(x)}, \qquad b = \bar y - a \bar x.

Such a map keeps every shape, and can be folded exactly into a layer whose output goes nowhere else. A full
matrix between channels would fit better, and cost as much as a convolution more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hf_affscore.simplify.sample import Part
from hf_affscore.simplify.sites import Site


@dataclass(frozen=True)
class Fit:
    """The map of one activation.

    Attributes:
        slope: Of every channel, shape ``(channels,)``, float64.
        offset: The same.
        r2: Share of the variance of the output that the map explains, over all channels; 1 for a constant
            output.
        dtype: Number format of the input, which is not that of the first weights in every network.
    """

    slope: Tensor
    offset: Tensor
    r2: float
    dtype: torch.dtype


@dataclass
class Moments:
    """Sums over images and positions, in every channel, in float64."""

    axis: int
    count: int = 0
    dtype: torch.dtype = torch.float32
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, pre: Tensor, post: Tensor) -> None:
        """Add inputs and outputs of equal shape."""
        x, y = (side.detach().movedim(self.axis, 0).flatten(1).double() for side in (pre, post))
        self.count, self.dtype = self.count + x.shape[1], pre.dtype
        products = {"x": x, "y": y, "xx": x * x, "xy": x * y, "yy": y * y}
        for name, values in products.items():
            self.sums[name] = self.sums.get(name, 0) + values.sum(1)

    def fit(self) -> Fit:
        """The map of least squared error. A channel whose input is constant gets the mean of its output."""
        mean = {name: values / self.count for name, values in self.sums.items()}
        variance = mean["xx"] - mean["x"] ** 2
        covariance = mean["xy"] - mean["x"] * mean["y"]
        constant = variance <= 1e-12 * mean["xx"]
        slope = torch.where(constant, 0.0, covariance / torch.where(constant, 1.0, variance))
        total = float((mean["yy"] - mean["y"] ** 2).sum())
        explained = float((slope * covariance).sum())
        r2 = explained / total if total > 0 else 1.0
        return Fit(slope, mean["y"] - slope * mean["x"], r2, self.dtype)


class ChannelMap(nn.Module):
    """A map in the place of an activation while it is tried; no network that is returned holds one."""

    def __init__(self, fit: Fit, axis: int) -> None:
        super().__init__()
        self._fit, self._axis = fit, axis

    def forward(self, values: Tensor) -> Tensor:
        """The map of every channel."""
        shape = [-1 if axis == self._axis else 1 for axis in range(values.ndim)]
        slope, offset = (part.to(values).view(shape) for part in (self._fit.slope, self._fit.offset))
        return values * slope + offset


def fit_maps(model: nn.Module, sites: Sequence[Site], images: Part) -> dict[str, Fit]:
    """The maps of these activations on these images, by the path of the module.

    Args:
        model: In evaluation mode.
        sites: Activations that are modules.
        images: What is run.
    """
    moments: Mapping[str, Moments] = {site.path: Moments(site.axis) for site in sites}
    inputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for path in moments:

            def before(module: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
                inputs[path] = args[0].clone()  # the activation may work in place

            def after(module: nn.Module, args: tuple[Any, ...], output: Tensor, path: str = path) -> None:
                moments[path].add(inputs.pop(path), output)

            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        images.run_through(model)
    return {path: its.fit() for path, its in moments.items()}
