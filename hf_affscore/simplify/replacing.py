"""Puts a map in the place of an activation: into a layer beside it where that is exact, else as a convolution.

A map can be folded into the weight and bias of the layer before, if its output goes to this activation alone, and
of the layer after, if the output of the activation goes to this layer alone. Whether it does is found by running:
the network with the map folded in has to give what the network with the map in place gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hf_affscore.simplify.channel_map import Fit
from hf_affscore.simplify.neighbours import Layer
from hf_affscore.simplify.report import CONVOLUTION
from hf_affscore.simplify.sample import Part, equal, logits
from hf_affscore.simplify.sites import CONVOLUTIONS, Site, takes_convolution
from hf_affscore.simplify.trial import put

#: A weight and a bias.
Folded: TypeAlias = tuple[Tensor, Tensor]
_Fold: TypeAlias = Callable[[Tensor, "Tensor | None", Layer, Fit], "Folded | None"]


def settle(model: nn.Module, allowed: Callable[[], bool], site: Site, fit: Fit, images: Part) -> str | None:
    """Replace a map that is being tried by ordinary modules that do the same.

    Args:
        model: With the map in place, changed in place.
        allowed: Whether the network may stay as it is then. What is exact but for rounding can change classes.
        site: The activation.
        fit: Its map.
        images: A few, to compare outputs on.

    Returns:
        Path of the layer that took it in, or :data:`CONVOLUTION`; None if there is no exact way: the map is then
        still in place.
    """
    wanted = logits(model, images)
    for layer, fold in ((site.before, _fold_before), (site.after, _fold_after)):
        if layer and _folded(model, allowed, site.path, layer, fold, fit, images, wanted):
            return layer.path
    if takes_convolution(site):
        tried = put(model, site.path, _convolution(model, site, fit))
        if allowed():
            return CONVOLUTION
        put(model, site.path, tried)
    return None


def _folded(
    model: nn.Module,
    allowed: Callable[[], bool],
    path: str,
    names: Layer,
    fold: _Fold,
    fit: Fit,
    images: Part,
    wanted: Tensor,
) -> bool:
    """Let a layer take a map in, unless the network then gives something else."""
    layer = model.get_submodule(names.path)
    weight, bias = getattr(layer, names.weight), getattr(layer, names.bias, None)
    folded = fold(weight, bias, names, fit) if hasattr(layer, names.bias) else None
    if folded is None:
        return False
    tried = put(model, path, nn.Identity())
    for name, values in zip((names.weight, names.bias), folded, strict=True):
        setattr(layer, name, _parameter(values, weight))
    if equal(logits(model, images), wanted, weight.dtype) and allowed():
        return True
    setattr(layer, names.weight, weight)
    setattr(layer, names.bias, bias)
    put(model, path, tried)
    return False


def _fold_before(weight: Tensor, bias: Tensor | None, names: Layer, fit: Fit) -> Folded | None:
    """The weight and bias with which a layer gives what the map makes of its output."""
    slope, offset = fit.slope.to(weight.device), fit.offset.to(weight.device)
    rows = slope.view(-1, *[1] * (weight.ndim - 1))
    return weight.detach().double() * rows, _bias(bias, offset) * slope + offset


def _fold_after(weight: Tensor, bias: Tensor | None, names: Layer, fit: Fit) -> Folded | None:
    """The weight and bias with which a layer gives of the map's input what it gives of its output.

    Zeros around the input of a convolution stay zeros, where the map would give its offset: such a layer takes in
    maps without offset only.
    """
    slope, offset = fit.slope.to(weight.device), fit.offset.to(weight.device)
    inputs = weight.shape[1]  # of one group
    if len(slope) != inputs * names.groups or (names.padded and bool(offset.any())):
        return None
    old = weight.detach().double().view(names.groups, -1, inputs, *weight.shape[2:])
    shape = names.groups, 1, inputs, *[1] * (weight.ndim - 2)
    added = (old * offset.view(shape)).flatten(2).sum(2).flatten()
    return (old * slope.view(shape)).view(weight.shape), _bias(bias, added) + added


def _bias(bias: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if bias is None else bias.detach().double()


def _convolution(model: nn.Module, site: Site, fit: Fit) -> nn.Module:
    """One weight and one bias per channel, as a convolution of 1 x 1 with as many groups."""
    count = len(fit.slope)
    made: nn.Module = CONVOLUTIONS[site.ndim](count, count, 1, groups=count)
    like = torch.empty(0, device=fit.slope.device, dtype=fit.dtype, requires_grad=is_trainable(model))
    made.weight = _parameter(fit.slope.view(count, *[1] * (site.ndim - 1)), like)
    made.bias = _parameter(fit.offset, like)
    return made.eval()


def is_trainable(model: nn.Module) -> bool:
    """Whether maps in it are to have gradients, as its first weights do."""
    return next((value.requires_grad for value in model.parameters() if value.is_floating_point()), False)


def _parameter(values: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.device, like.dtype), requires_grad=like.requires_grad)
