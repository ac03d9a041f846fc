"""Gives every call of an activation a module of its own, so that it can be replaced without the others.

Three ways to call an activation leave nothing to replace: a function (``F.relu``, ``x.relu()``), a module that
runs several times in a pass (one ``nn.ReLU`` for a whole block), and one module under several names. The last gets
a copy under each name. For the others ``torch.fx`` traces the forward method of the module around the calls, with
its children as they are, and in the traced module every call reaches a module of its own. What cannot be traced, or
answers differently then, is left as it was, with the reason.
"""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from hf_affscore.capture import ROOT, CallSite, Capture
from hf_affscore.capture.activations import FUNCTIONS, of_function, of_module
from hf_affscore.simplify.sample import Part, equal, logits
from hf_affscore.simplify.trial import put

#: Calls that one graph makes of one function, or of one module: its kind, and its name or path.
Key = tuple[str, str]


class Called(nn.Module):
    """A function call as a module while maps are tried; no network that is returned holds one."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self._function, self._args, self._kwargs = function, args, dict(kwargs)

    def forward(self, values: Tensor) -> Any:
        """What the function gives."""
        return self._function(values, *self._args, **self._kwargs)


@dataclass(frozen=True)
class _Change:
    """A node of a graph that calls a module of its own now, and what it called before."""

    node: fx.Node
    name: str
    module: nn.Module
    before: tuple[str, Any, tuple[Any, ...], dict[str, Any]]


@dataclass
class Separated:
    """A network in which every call of an activation has a module of its own, as far as that works.

    Attributes:
        network: The network.
        calls: The calls in the network as it was, in execution order.
        reasons: Why some of them were left as they were.
    """

    network: nn.Module
    calls: list[CallSite]
    reasons: dict[CallSite, str] = field(default_factory=dict)
    _traced: dict[str, tuple[nn.Module, list[_Change]]] = field(default_factory=dict)

    def trace(
        self, path: str, calls: Sequence[CallSite], images: Part, wanted: Tensor
    ) -> dict[CallSite, str]:
        """Give calls modules of their own inside one module.

        Args:
            path: Of the module.
            calls: Those around which it is.
            images: A few.
            wanted: What the network says of them.

        Returns:
            Why some were left.
        """
        module = self.network.get_submodule(path)
        try:
            traced = fx.GraphModule(module, _tracer().trace(module))
            changes, reasons = _own_modules(traced, path, calls)
            self._put(path, traced)
            same = equal(logits(self.network, images), wanted)
            all_seen = len(_calls(self.network, images)) == len(self.calls)
        except Exception as error:  # the forward method may do anything
            self._put(path, module)
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            return dict.fromkeys(
                calls, f"torch.fx cannot trace the {type(module).__name__} around it ({said})"
            )
        if same and all_seen and changes:
            self._traced[path] = module, changes
            return reasons
        self._put(path, module)
        if not same:
            why = f"the {type(module).__name__} around it answers differently when torch.fx has traced it"
        else:  # a function of one's own, which the traced module no longer calls
            why = f"torch.fx does not see every activation of the {type(module).__name__} around it"
        return reasons if same and all_seen else dict.fromkeys(calls, why)

    def restore(self) -> nn.Module:
        """Put back calls that still have their activations, and the module around them if none was replaced."""
        for path, (original, changes) in self._traced.items():
            traced = self.network.get_submodule(path)
            assert isinstance(traced, fx.GraphModule)
            same = [change for change in changes if getattr(traced, change.name) is change.module]
            for change in same:
                change.node.op, change.node.target, args, change.node.kwargs = change.before
                change.node.args = args if not args else (change.node.args[0], *args[1:])
            if len(same) < len(changes):
                traced.recompile()
                traced.delete_all_unused_submodules()
                continue
            for name in [node.target for node in traced.graph.nodes if node.op == "call_module"]:
                put(original, name, traced.get_submodule(name))  # it may hold what was replaced
            self._put(path, original)
        return self.network

    def _put(self, path: str, module: nn.Module) -> None:
        if path:
            put(self.network, path, module)
        else:
            self.network = module


def separate(network: nn.Module, images: Part) -> Separated:
    """Give every call of an activation a module of its own.

    Args:
        network: In evaluation mode, changed in place.
        images: A few, to compare what the network says before and after.
    """
    found = Separated(network, _calls(network, images))
    wanted = logits(network, images)
    _copy_under_every_name(network)
    around: dict[str, dict[CallSite, CallSite]] = defaultdict(dict)
    calls = _calls(network, images)
    runs = [call.module for call in calls if call.kind == "module"]
    for call, before in zip(calls, found.calls, strict=True):
        if call.kind == "function" and call.activation not in FUNCTIONS["gate"]:
            around["" if call.module == ROOT else call.module][call] = before
        elif call.kind == "module" and call.module != ROOT and runs.count(call.module) > 1:
            around[call.module.rpartition(".")[0]][call] = before
    for path in sorted(around, reverse=True):  # what is inside another first
        for call, why in found.trace(path, list(around[path]), images, wanted).items():
            found.reasons[around[path][call]] = why
    return found


def _tracer() -> fx.Tracer:
    """Traces a forward method, and no forward method of a child."""

    class Shallow(
        fx.Tracer
    ):  # a local class: torch writes others into files, which would need this package then
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return True

    return Shallow()


def _calls(network: nn.Module, images: Part) -> list[CallSite]:
    with Capture(network, lambda tensor, site: None) as seen:
        images.first(1).run_through(network)
    return [call.site for call in seen.calls]


def _copy_under_every_name(network: nn.Module) -> None:
    """Let no two names be of one activation; one with parameters keeps them, and its names."""
    seen = set[int]()
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if id(module) in seen and _can_be_copied(module):
            put(network, path, copy.deepcopy(module))
        seen.add(id(module))


def _can_be_copied(module: nn.Module) -> bool:
    known = of_module(module)
    return known is not None and known.role == "activation" and not list(module.parameters())


def _own_modules(
    traced: fx.GraphModule, path: str, calls: Sequence[CallSite]
) -> tuple[list[_Change], dict[CallSite, str]]:
    """Let the nodes of calls reach modules of their own; what was changed, and why the others were not."""
    nodes = _nodes(traced)
    changes: list[_Change] = []
    reasons: dict[CallSite, str] = {}
    grouped: dict[Key, list[CallSite]] = defaultdict(list)
    for call in calls:
        inside = call.module.removeprefix(f"{path}.") if path else call.module
        grouped[(call.kind, inside if call.kind == "module" else call.activation)].append(call)
    for key, its in grouped.items():
        if len(its) != len(nodes[key]):
            why = "torch.fx sees another number of its calls: the module around it runs several times, or not all"
            reasons.update(dict.fromkeys(its, why))
            continue
        for call, node in zip(its, nodes[key], strict=True):
            module = _module_of(traced, node)
            if isinstance(module, str):
                reasons[call] = module
            else:
                changes.append(_changed(traced, node, module, key[1]))
    traced.recompile()
    return changes, reasons


def _nodes(traced: fx.GraphModule) -> dict[Key, list[fx.Node]]:
    found: dict[Key, list[fx.Node]] = defaultdict(list)
    for node in traced.graph.nodes:
        if node.op == "call_module":
            found["module", node.target].append(node)
        elif node.op in ("call_function", "call_method"):
            known = of_function(_function(node))
            if known is not None:
                found["function", known.name].append(node)
    return found


def _function(node: fx.Node) -> Callable[..., Any]:
    if callable(node.target):
        return node.target
    method: Callable[..., Any] = getattr(torch.Tensor, node.target, len)
    return method


def _module_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | str:
    """A module for one call alone; in words why there is none."""
    if not node.users:
        return "it works in place, and its result is not used"
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        return copy.deepcopy(module) if _can_be_copied(module) else "its calls share parameters"
    if len(node.all_input_nodes) != 1 or "input" in node.kwargs:
        return "called as a function of more than one tensor"
    return Called(_function(node), node.args[1:], node.kwargs)


def _changed(traced: fx.GraphModule, node: fx.Node, module: nn.Module, name: str) -> _Change:
    base = name.replace(".", "_")
    name = next(each for number in itertools.count() if not hasattr(traced, each := f"{base}_{number}"))
    traced.add_module(name, module)
    change = _Change(node, name, module, (node.op, node.target, tuple(node.args), dict(node.kwargs)))
    node.op, node.target, node.args, node.kwargs = "call_module", name, (node.args[0],), {}
    return change
