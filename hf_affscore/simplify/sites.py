"""Which activations of a network can be replaced, and the layer before each that can take an affine map in.

A replacement is made module by module, so an activation has to be a module that runs once in a forward pass.
One that is called as a function, or whose module runs several times, stays, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hf_affscore.capture import ROOT, Call, CallSite, Capture
from hf_affscore.capture.activations import forms, of_module
from hf_affscore.errors import InputError, NoActivationError
from hf_affscore.models.vision_forward import vision_forward
from hf_affscore.simplify.sample import Part
from hf_affscore.spelling import did_you_mean

#: Functions whose result is ``weight * something + bias`` in every channel: the places of weight and bias
#: among the arguments, and the axis of the channels. The first axis of the weight has one entry per channel.
LINEAR_FUNCTIONS: dict[str, tuple[int, int, int]] = {
    "linear": (1, 2, -1),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), (1, 2, 1)),
    "batch_norm": (3, 4, 1),
    "group_norm": (2, 3, 1),
    "layer_norm": (2, 3, -1),
}


@dataclass(frozen=True)
class Layer:
    """The weight and the bias that made the input of an activation.

    Attributes:
        path: Of the module that holds them.
        weight: Name of the weight in it.
        bias: Name of the bias in it, which may be None.
        axis: The axis of its output that holds the channels: 1, or -1 for the last.
    """

    path: str
    weight: str
    bias: str
    axis: int


@dataclass(frozen=True)
class Site:
    """An activation of a network.

    Attributes:
        module: Path of the module; for a function, of the innermost module around the call.
        activation: Name of the class or function.
        call: Number of the call among those of this module.
        elements: Entries of its output for one image.
        axis: The axis that holds the channels.
        ndim: Number of axes of its input.
        before: The layer that made its input, if that is known and has a weight in every channel.
        reason: Why it cannot be replaced; None if it can.
    """

    module: str
    activation: str
    call: int
    elements: int
    axis: int
    ndim: int
    before: Layer | None = None
    reason: str | None = None


def find_sites(model: nn.Module, images: Part, sites: Sequence[str] | None) -> list[Site]:
    """The activations that run, in execution order.

    Args:
        model: In evaluation mode.
        images: A few.
        sites: Paths of modules or names of activations that may be replaced, with wildcards; None: all.

    Raises:
        InputError: A pattern matches no activation that runs.
        NoActivationError: No activation runs.
    """
    side = vision_forward(model)
    with Capture(model, lambda tensor, site: tuple(tensor.shape)) as seen:
        for batch in images.batches():
            side(batch)
            break
    if not seen.calls:
        raise NoActivationError(
            f"No activation was found in {type(model).__name__}, so there is nothing to replace. `hf-affscore "
            "inspect` lists what runs and why it is left out."
        )
    _check_patterns(sites, [call.site for call in seen.calls])
    runs = Counter(call.site.module for call in seen.calls if call.site.kind == "module")
    count = min(len(images), images.size)
    candidates: dict[CallSite, str | None] = {
        call.site: _reason(call, runs[call.site.module], model, sites) for call in seen.calls
    }
    layers = _layers_before(
        model, [site.module for site, reason in candidates.items() if reason is None], images
    )
    found = []
    for call in seen.calls:
        before, axis = layers.get(call.site.module), call.site.channel_axis
        axis = axis if before is None else before.axis % len(call.shape)
        elements = torch.Size(call.shape).numel() // count
        name = call.site
        made = Site(name.module, name.activation, name.call, elements, axis, len(call.shape))
        reason = candidates[name]
        if reason is None and before is None and not takes_convolution(made):
            reason = "no layer before it can take the map in, and its channels are not on the second axis"
        found.append(Site(**{**vars(made), "before": before if reason is None else None, "reason": reason}))
    return found


def takes_convolution(site: Site) -> bool:
    """Whether a convolution of 1 x 1, channel by channel, can stand in the place of an activation."""
    return site.axis == 1 and 3 <= site.ndim <= 5


def _check_patterns(sites: Sequence[str] | None, calls: Sequence[CallSite]) -> None:
    if isinstance(sites, str):
        raise InputError(f"sites is {sites!r}; expected a list of patterns, [{sites!r}].")
    for pattern in sites or ():
        if not any(_matches(pattern, site) for site in calls):
            known = dict.fromkeys(word for site in calls for word in (site.module, site.activation))
            raise InputError(
                f"sites has {pattern!r}, which matches no activation that runs. `hf-affscore inspect` lists them."
                f"{did_you_mean(pattern, known)}"
            )


def _matches(pattern: str, site: CallSite) -> bool:
    return fnmatchcase(site.module, pattern) or fnmatchcase(site.activation, pattern)


def _reason(
    call: Call[tuple[int, ...]], runs: int, model: nn.Module, sites: Sequence[str] | None
) -> str | None:
    """Why a call cannot be replaced; None if it can, as far as one pass shows."""
    site = call.site
    if sites is not None and not any(_matches(pattern, site) for pattern in sites):
        return "not among the sites that were asked for"
    if site.kind != "module":
        return "called as a function, which no module can replace"
    if site.module == ROOT:
        return "it is the whole model"
    if runs > 1:
        return (
            f"its module runs {runs} times in a pass, so that one call cannot be replaced without the others"
        )
    known = of_module(model.get_submodule(site.module))
    if known is None or known.role != "activation":
        return "it is no element-wise activation"
    if call.pre != call.post:
        return f"its output has another shape, {call.post}, than its input, {call.pre}"
    return None


def _layers_before(model: nn.Module, modules: Sequence[str], images: Part) -> dict[str, Layer]:
    """The layer that made the input of each of these modules, where that is known."""
    found: dict[str, Layer] = {}
    side = vision_forward(model)
    with ExitStack() as stack, torch.no_grad():
        made = stack.enter_context(_Made(model))
        for path in modules:

            def before(module: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
                layer = made.by(args[0]) if args else None
                if layer is not None:
                    found[path] = layer

            stack.callback(model.get_submodule(path).register_forward_pre_hook(before).remove)
        for batch in images.first(1).batches():
            side(batch)
    return found


class _Made(TorchFunctionMode):
    """Remembers which weight made which tensor while a network runs, whatever class of module it is in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._owners = {
            id(parameter): (path, name)
            for path, module in model.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
        }
        self._layers: dict[int, tuple[Tensor, Layer]] = {}  # holds the tensors: their addresses stay theirs

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        places = _functions().get(func)
        if places is not None and isinstance(output, Tensor):
            weight_at, bias_at, axis = places
            weight, bias = (
                _argument(args, kwargs, weight_at, "weight"),
                _argument(args, kwargs, bias_at, "bias"),
            )
            layer = self._layer(weight, bias, axis, output)
            if layer is not None:
                self._layers[id(output)] = output, layer
        return output

    def by(self, tensor: Any) -> Layer | None:
        """The layer that made a tensor."""
        return self._layers.get(id(tensor), (None, None))[1]

    def _layer(self, weight: Any, bias: Any, axis: int, output: Tensor) -> Layer | None:
        if not isinstance(weight, Tensor) or id(weight) not in self._owners:
            return None
        if not weight.is_floating_point() or weight.shape[0] != output.shape[axis]:
            return None
        path, name = self._owners[id(weight)]
        holder, bias_name = self._owners.get(id(bias), (path, "bias"))
        return Layer(path, name, bias_name, axis) if holder == path else None


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    return kwargs.get(name, args[place] if len(args) > place else None)


@cache
def _functions() -> dict[Callable[..., Any], tuple[int, int, int]]:
    return {form: places for name, places in LINEAR_FUNCTIONS.items() for form in forms(name)}
