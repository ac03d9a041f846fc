"""Which blocks of a network, and which attention and MLP parts of them, an affine map of channels can stand in for.

The map is one for all positions: a linear layer for tokens, a convolution of 1 x 1 for feature maps, with the
stride of the block. It takes the first tensor that the block takes, and is given back as the block gives back its
output. A block that moves values between axes, or gives back several tensors, stays, with the reason.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from hf_affscore.capture import ROOT, Call, Capture
from hf_affscore.capture.blocks import BlockSelection, parts_and_ends
from hf_affscore.errors import NoActivationError
from hf_affscore.inspection.operations import Operations
from hf_affscore.simplify.costs import activation_elements, num_parameters
from hf_affscore.simplify.sample import Part
from hf_affscore.simplify.sites import CONVOLUTIONS, NOT_ASKED_FOR, check_patterns, matches_any


@dataclass(frozen=True)
class Seen:
    """How a block was called in one pass: its first parameter, its arguments, its output, its operations."""

    first: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    operations: int | None


@dataclass(frozen=True)
class BlockSite:
    """A block of a network, or a part of one.

    Attributes:
        path: Of the module.
        part: ``"block"``, ``"attention"`` or ``"mlp"``.
        activation: Name of the class.
        elements: Entries for one image of the outputs of the activations inside it.
        parameters: Those inside it, less those of the map.
        operations: Of one image inside it, less those of the map; None if they could not be counted.
        before: Shape of the input.
        after: Shape of the output.
        axis: The axis that holds the channels.
        seen: How it was called.
        reason: Why it cannot be replaced; None if it can.
    """

    path: str
    part: str
    activation: str
    elements: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    axis: int
    parameters: int = 0
    operations: int | None = None
    seen: Seen | None = field(default=None, repr=False)
    reason: str | None = None

    @property
    def keeps_stream(self) -> bool:
        """Whether what it gives back is its input with an update."""
        return self.part == "block" and self.before == self.after

    @property
    def is_linear(self) -> bool:
        """Whether its map is a linear layer, not a convolution."""
        return self.axis == len(self.before) - 1

    @property
    def strides(self) -> tuple[int, ...]:
        """One stride per position axis."""
        return tuple(
            -(-one // two)
            for place, (one, two) in enumerate(zip(self.before, self.after, strict=True))
            if place not in (0, self.axis)
        )

    def row(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "module": self.path,
            "part": self.part,
            "activation": self.activation,
            "call": 0,
            "elements": self.elements,
            "parameters": self.parameters,
            "operations": self.operations,
        }

    def rows(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and outputs as rows of channels, one row per position of the output."""
        steps = iter(self.strides)
        places = [
            slice(None) if place in (0, self.axis) else slice(None, None, next(steps))
            for place in range(before.ndim)
        ]
        x, y = (values.movedim(self.axis, -1) for values in (before[tuple(places)], after))
        return x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])

    def layer(self, inputs: int, outputs: int) -> nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """A layer for the map, with weights of its own."""
        if self.is_linear:
            return nn.Linear(inputs, outputs)
        made: Any = CONVOLUTIONS[len(self.before)]
        layer: nn.Conv2d = made(inputs, outputs, 1, stride=self.strides)
        return layer

    def stand_in(self, layer: nn.Module) -> nn.Module:
        """A module that is called as the block is, and gives back what the layer gives as the block does."""
        seen = self.seen
        assert seen is not None
        if isinstance(seen.output, Tensor) and len(seen.args) == 1 and not seen.kwargs:
            return layer
        graph = fx.Graph()
        named = next((name for name, value in seen.kwargs.items() if isinstance(value, Tensor)), None)
        values = graph.placeholder(named if named and not seen.args else seen.first)
        graph.placeholder("*args")
        graph.placeholder("**kwargs")
        graph.output(_filled(seen.output, graph.call_module("map", (values,))))
        return fx.GraphModule({"map": layer}, graph)


def find_blocks(model: nn.Module, images: Part, sites: Sequence[str] | None) -> list[BlockSite]:
    """The blocks that run and their parts, in execution order, a block before its parts.

    Args:
        model: In evaluation mode.
        images: A few.
        sites: Paths of modules, names of classes, or ``"block"``, ``"attention"`` and ``"mlp"``: what may be
            replaced, with wildcards; None: all.

    Raises:
        InputError: A pattern matches no block that runs.
        NoActivationError: The network repeats no block.
    """
    few = images.first(1)
    selection = BlockSelection((), (), *parts_and_ends(model))
    calls = _calls(model, few, selection)
    seen = _seen(model, {call.site.module for call in calls}, few)
    names = [(call.site.module, call.site.activation, str(call.site.part)) for call in calls]
    check_patterns(sites, names, "block")
    runs = Counter(call.site.module for call in calls)
    inside = activation_elements(model, few)
    found = []
    for call, words in zip(calls, names, strict=True):
        path, asked = call.site.module, sites is None or matches_any(sites, *words)
        site = BlockSite(
            path,
            str(call.site.part),
            call.site.activation,
            elements=sum(count for (each, *_), count in inside.items() if f"{each}.".startswith(f"{path}.")),
            before=call.pre,
            after=call.post,
            axis=call.site.channel_axis,
            seen=seen[path],
        )
        split = "it is two modules, and no one module can stand for both"
        reason = split if selection.end_of(path) != path else _reason(site, runs[path])
        reason = reason if asked else NOT_ASKED_FOR
        found.append(_with_savings(site, model.get_submodule(path), reason))
    return found


def _calls(model: nn.Module, images: Part, selection: BlockSelection) -> list[Call[tuple[int, ...]]]:
    with Capture(model, lambda tensor, site: tuple(tensor.shape), selection) as capture:
        images.run_through(model)
    if not capture.calls:
        raise NoActivationError(
            f"No repeated blocks were found in {type(model).__name__}, so there is nothing to replace. Without "
            "level='blocks' (--level blocks) its activations are tried."
        )
    return capture.calls


def _seen(model: nn.Module, paths: Iterable[str], images: Part) -> dict[str, Seen]:
    """How each of these modules is called."""
    found: dict[str, Seen] = {}
    counting: dict[str, Operations] = {}
    with ExitStack() as stack:
        for path in paths:

            def begins(module: nn.Module, args: Any, path: str = path) -> None:
                counting[path] = Operations()
                counting[path].__enter__()  # type: ignore[no-untyped-call]  # torch's is not annotated

            def ends(module: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
                counting[path].__exit__(None, None, None)  # type: ignore[no-untyped-call]
                its = counting[path]
                count = None if its.problem is not None else sum(its.flops.values())
                first = next(iter(inspect.signature(module.forward).parameters), "values")
                found[path] = Seen(first, args, kwargs, output, count)

            module = model.get_submodule("" if path == ROOT else path)
            stack.callback(module.register_forward_pre_hook(begins).remove)
            stack.callback(module.register_forward_hook(ends, with_kwargs=True).remove)
        images.run_through(model)
    return found


def _reason(site: BlockSite, runs: int) -> str | None:
    """Why a block cannot be replaced; None if it can, as far as one pass shows."""
    before, after, axis = site.before, site.after, site.axis
    seen = site.seen
    if seen is None or site.path == ROOT:
        return "it is the whole model"
    if runs > 1:
        return f"it runs {runs} times in a pass, so that one call cannot be replaced without the others"
    given = [value for value in (*seen.args, *seen.kwargs.values()) if isinstance(value, Tensor)]
    if not given or (seen.args and not isinstance(seen.args[0], Tensor)):
        return "its first argument is no tensor"
    if _num_tensors(seen.output) != 1:
        return "it gives back another number of tensors than one, or none in a plain tuple or list"
    if not site.is_linear and not (axis == 1 and len(before) in CONVOLUTIONS):
        return f"no layer maps the channels of its input, of shape {before}"
    if len(before) != len(after):
        return f"its output has other axes, {after}, than its input, {before}"
    fits = all(
        -(-one // step) == two
        for one, two, step in zip(
            _positions(before, axis), _positions(after, axis), site.strides, strict=True
        )
    )
    if before[0] != after[0] or not fits or (site.is_linear and set(site.strides) - {1}):
        return f"its output has other positions, of shape {after}, than a layer gives of its input, {before}"
    return None


def _positions(shape: tuple[int, ...], axis: int) -> list[int]:
    return [size for place, size in enumerate(shape) if place not in (0, axis)]


def _with_savings(site: BlockSite, module: nn.Module, reason: str | None) -> BlockSite:
    """With what is saved by the map, where it can be put in."""
    fields = {**vars(site), "reason": reason, "parameters": num_parameters(module)}
    operations = site.seen.operations if site.seen else None
    if reason is None:
        inputs, outputs = site.before[site.axis], site.after[site.axis]
        fields["parameters"] -= (inputs + 1) * outputs
        if operations is not None:
            operations -= 2 * inputs * torch.Size(site.after).numel()
    return BlockSite(**{**fields, "operations": operations})


def _num_tensors(output: Any) -> int:
    """How many tensors are in nested tuples and lists; -1 if there is something else than them and None."""
    if isinstance(output, Tensor):
        return 1
    if type(output) in (tuple, list):
        counts = [_num_tensors(value) for value in output]
        return -1 if -1 in counts else sum(counts)
    return 0 if output is None else -1


def _filled(output: Any, value: fx.Node) -> Any:
    """The output of a block with something else for its tensor."""
    if isinstance(output, Tensor):
        return value
    return None if output is None else type(output)(_filled(each, value) for each in output)
