"""The layers beside an activation that can take an affine map in: the one before it, and the one after it.

Which weight made a tensor, and which weight it is multiplied by, is seen at the functions of torch that a forward
pass calls, whatever class of module they are in. Nothing here says that a layer has no other uses: that is tested
by running (:mod:`hf_affscore.simplify.replacing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hf_affscore.capture.activations import forms
from hf_affscore.simplify.sample import Part

#: Functions whose result is ``weight * something + bias`` in every channel: the places of weight and bias
#: among the arguments, and the axis of the channels. The first axis of the weight has one entry per channel.
LINEAR_FUNCTIONS: dict[str, tuple[int, int, int]] = {
    "linear": (1, 2, -1),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), (1, 2, 1)),
    "batch_norm": (3, 4, 1),
    "group_norm": (2, 3, 1),
    "layer_norm": (2, 3, -1),
}

#: Of these, the ones that are linear in their input.
PRODUCTS = ("linear", "conv1d", "conv2d", "conv3d")

#: Functions between an activation and a product that an affine map of channels passes through unchanged, as far as
#: shapes allow: means over positions (padding is tested by running), other shapes, and dropout at rest.
PASSED = (
    *(
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
    ),
    *("mean", "flatten", "squeeze", "contiguous", "dropout", "dropout2d"),
)


@dataclass(frozen=True)
class Layer:
    """The weight and the bias of a layer beside an activation.

    Attributes:
        path: Of the module that holds them.
        weight: Name of the weight in it.
        bias: Name of the bias in it, which may be None.
        axis: The axis of its output that holds the channels: 1, or -1 for the last.
        groups: Of a convolution.
        padded: Whether zeros are put around its input, which an offset would turn into something else.
    """

    path: str
    weight: str
    bias: str
    axis: int
    groups: int = 1
    padded: bool = False


@dataclass(frozen=True)
class Neighbours:
    """The layers beside an activation, where they are known."""

    before: Layer | None = None
    after: Layer | None = None


def neighbours(model: nn.Module, modules: Sequence[str], images: Part) -> dict[str, Neighbours]:
    """The layers beside each of these modules.

    Args:
        model: In evaluation mode.
        modules: Paths of activations that run once in a pass.
        images: The first is run.
    """
    before: dict[str, Layer] = {}
    with ExitStack() as stack, torch.no_grad():
        functions = stack.enter_context(_Functions(model))
        for path in modules:

            def begins(module: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
                layer = functions.made.get(id(args[0])) if args else None
                if layer is not None:
                    before[path] = layer

            def ends(module: nn.Module, args: tuple[Any, ...], output: Any, path: str = path) -> None:
                functions.follow(output, path)

            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(begins).remove)
            stack.callback(module.register_forward_hook(ends).remove)
        images.first(1).run_through(model)
    return {path: Neighbours(before.get(path), functions.after.get(path)) for path in modules}


class _Functions(TorchFunctionMode):
    """Remembers which weight made which tensor, and which weight meets the output of an activation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.made: dict[int, Layer] = {}  # by the id of the tensor
        self.after: dict[str, Layer] = {}  # by the path of the activation
        self._follows: dict[int, str] = {}
        self._held: list[Tensor] = []  # so that ids stay theirs
        self._owners = {
            id(parameter): (path, name)
            for path, module in model.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
        }

    def follow(self, tensor: Any, path: str) -> None:
        """Look for the layer that takes a tensor, which an activation has made."""
        self._held.append(tensor)
        self._follows[id(tensor)] = path

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        name, source = _functions().get(func), _argument(args, kwargs, 0, "input")
        if name is None or not isinstance(output, Tensor):
            return output
        path = self._follows.get(id(source))
        if name in PASSED:
            if path is not None:
                self.follow(output, path)
            return output
        places = LINEAR_FUNCTIONS[name]
        layer = self._layer(args, kwargs, places, name)
        if layer is None:
            return output
        weight = _argument(args, kwargs, places[0], "weight")
        if weight.shape[0] == output.shape[layer.axis]:
            self._held.append(output)
            self.made[id(output)] = layer
        if path is not None and name in PRODUCTS:
            self.after.setdefault(path, layer)  # other uses are found by running
        return output

    def _layer(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], places: tuple[int, int, int], name: str
    ) -> Layer | None:
        weight = _argument(args, kwargs, places[0], "weight")
        bias = _argument(args, kwargs, places[1], "bias")
        if not isinstance(weight, Tensor) or id(weight) not in self._owners or not weight.is_floating_point():
            return None
        path, weight_name = self._owners[id(weight)]
        holder, bias_name = self._owners.get(id(bias), (path, "bias"))
        if holder != path:
            return None
        groups, padded = 1, False
        if name.startswith("conv"):
            groups = _argument(args, kwargs, 6, "groups") or 1
            padded = _is_padded(_argument(args, kwargs, 4, "padding"), weight)
        return Layer(path, weight_name, bias_name, places[2], groups, padded)


def _is_padded(padding: Any, weight: Tensor) -> bool:
    if isinstance(padding, str):
        return padding == "same" and weight.shape[2:].numel() > 1
    return any(padding) if isinstance(padding, tuple | list) else bool(padding)


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], place: int, name: str) -> Any:
    return kwargs.get(name, args[place] if len(args) > place else None)


@cache
def _functions() -> dict[Callable[..., Any], str]:
    return {form: name for name in (*LINEAR_FUNCTIONS, *PASSED) for form in forms(name)}
