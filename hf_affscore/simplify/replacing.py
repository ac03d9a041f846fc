"""Puts a map in the place of an activation: into the layer before it where that is exact, else as a convolution.

A map can be folded into the weight and bias of a layer whose output goes to this activation alone. Whether
it does is found by running: the network with the map folded in has to give what the network with the map in
place gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hf_affscore.simplify.channel_map import Fit
from hf_affscore.simplify.report import CONVOLUTION
from hf_affscore.simplify.sample import Part, logits
from hf_affscore.simplify.sites import Layer, Site, takes_convolution

_CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


def put(model: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module in the place of another, which is returned."""
    parent, _, name = path.rpartition(".")
    replaced = model.get_submodule(path)
    setattr(model.get_submodule(parent), name, module)
    return replaced


def settle(model: nn.Module, site: Site, fit: Fit, images: Part) -> str | None:
    """Replace a map that is being tried by ordinary modules that do the same.

    Args:
        model: With the map in place, changed in place.
        site: The activation.
        fit: Its map.
        images: A few, to compare outputs on.

    Returns:
        Path of the layer that took it in, or :data:`CONVOLUTION`; None if there is no exact way: the map is then
        still in place.
    """
    wanted = logits(model, images)
    if site.before is not None:
        tried = put(model, site.module, nn.Identity())
        layer = model.get_submodule(site.before.path)
        weight, bias = getattr(layer, site.before.weight), getattr(layer, site.before.bias, None)
        if _fold(layer, site.before, fit) and _equal(logits(model, images), wanted, weight.dtype):
            return site.before.path
        setattr(layer, site.before.weight, weight)
        if hasattr(layer, site.before.bias):
            setattr(layer, site.before.bias, bias)
        put(model, site.module, tried)
    if takes_convolution(site):
        put(model, site.module, _convolution(model, site, fit))
        return CONVOLUTION
    return None


def _fold(layer: nn.Module, names: Layer, fit: Fit) -> bool:
    """Let a layer give what the map makes of its output; False if it cannot have a bias."""
    weight = getattr(layer, names.weight)
    bias = getattr(layer, names.bias, None)
    if bias is None and not hasattr(layer, names.bias):
        return False
    slope, offset = fit.slope.to(weight.device), fit.offset.to(weight.device)
    old = torch.zeros_like(offset) if bias is None else bias.detach().double()
    rows = slope.view(-1, *[1] * (weight.ndim - 1))
    setattr(layer, names.weight, _parameter(weight.detach().double() * rows, weight))
    setattr(layer, names.bias, _parameter(old * slope + offset, weight))
    return True


def _convolution(model: nn.Module, site: Site, fit: Fit) -> nn.Module:
    """One weight and one bias per channel, as a convolution of 1 x 1 with as many groups."""
    count = len(fit.slope)
    made: nn.Module = _CONVOLUTIONS[site.ndim](count, count, 1, groups=count)
    like = next((value for value in model.parameters() if value.is_floating_point()), torch.empty(0))
    made.weight = _parameter(fit.slope.view(count, *[1] * (site.ndim - 1)), like)
    made.bias = _parameter(fit.offset, like)
    return made.eval()


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.device, like.dtype), requires_grad=like.requires_grad)


def _equal(outputs: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """Whether outputs differ by rounding only: within the tolerance of :mod:`hf_affscore.run.probe`."""
    difference = float(torch.linalg.vector_norm((outputs - wanted).double()))
    scale = float(torch.linalg.vector_norm(wanted.double()))
    return bool(difference <= torch.finfo(dtype).eps ** 0.5 * scale)
