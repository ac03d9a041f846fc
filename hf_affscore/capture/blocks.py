"""Finds the repeated blocks of a network, and their attention and MLP, in its tree of modules; nothing runs.

A block is what an architecture repeats: the residual blocks of a ResNet, the layers of a ViT. The rules:

1. A block is a numbered child (``layer1.0``, ``encoder_layer_3``) with at least two matrices or kernels, and a
   sibling of the same class; not what is called attention or MLP (``attn1``). Children of containers come first.
2. A module of a class that is at such a place at least twice needs no such sibling: a stage may have a single block
   (``stages.0.blocks.0`` beside ``stages.1.blocks.0`` and ``stages.1.blocks.1``).
3. Of one inside another, the outer is a stage, the inner a block.
4. A plain ``Sequential`` is a block only in a network without others.

The attention and the MLP of a block are its direct children of these names, as the libraries use them. Without such
an MLP it is two linear layers, one after the other in the tree and outside attention, of which the first widens and
the second gives as many features as the first takes (``linear1``, ``linear2``; ``intermediate.dense``,
``output.dense``): from the input of the first to the output of the second, under the name of the first. Other
attention and MLPs, of convolutions or functions, are not listed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from hf_affscore.capture.activations import Activation
from hf_affscore.capture.selection import ATTENTION, Selection, first_match
from hf_affscore.options import Level

#: What a module is in its network.
Part = Literal["block", "attention", "mlp"]

_MLP = re.compile(r"(?:.*_)?(?:mlp|ffn|ff|feed_?forward)\d*(?:_.*)?")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class BlockSelection(Selection):
    """Selects the blocks of a network and their parts, and no activation.

    Modules that ``include`` names are blocks, too.

    Attributes:
        parts: What each selected module is, by path.
        ends: The last module of a part that begins with another one.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)
    looks_below = False

    def of_module(self, module: nn.Module) -> Activation | None:
        """None: activations are not of interest."""
        return None

    def of_function(self, function: Callable[..., Any]) -> Activation | None:
        """None, as above."""
        return None

    def part_of(self, path: str) -> Part:
        """What a module is that is selected."""
        return self.parts.get(path, "block")

    def end_of(self, path: str) -> str:
        """The module whose output is that of the part that begins with this one."""
        return self.ends.get(path, path)

    def is_asked_for(self, module: nn.Module, path: str) -> bool:
        """Whether it is a block, a part of one, or named by ``include``."""
        return path in self.parts or super().is_asked_for(module, path)

    def why_skipped(self, activation: Activation, path: str) -> str | None:
        """The pattern that excludes a module, in words; ``None`` if none does."""
        self._calls.add((activation.name, path))
        pattern = first_match(self.exclude, activation.name, path)
        return None if pattern is None else f"excluded by {pattern!r}"


def selection_of(
    model: nn.Module, level: Level, include: Iterable[str] = (), exclude: Iterable[str] = ()
) -> Selection:
    """What is observed in a model: its activations, or its blocks."""
    if level == "activations":
        return Selection(include, exclude)
    return BlockSelection(include, exclude, *parts_and_ends(model))


def parts_and_ends(model: nn.Module) -> tuple[dict[str, Part], dict[str, str]]:
    """The blocks of a network and their parts, a block before its parts; none if it repeats nothing.

    Returns:
        What each of them is, by path; and for each MLP of two modules the path of the second by that of the first.

    Example:
        >>> layers = [nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=32) for _ in range(2)]
        >>> network = nn.ModuleDict({"stem": nn.Linear(4, 8), "layers": nn.ModuleList(layers)})
        >>> parts, ends = parts_and_ends(network)
        >>> list(parts.items())[:3]
        [('layers.0', 'block'), ('layers.0.self_attn', 'attention'), ('layers.0.linear1', 'mlp')]
        >>> ends["layers.0.linear1"]
        'layers.0.linear2'
    """
    modules = dict(model.named_modules())
    found: dict[str, Part] = {}
    ends: dict[str, str] = {}
    for path in _blocks(modules):
        found[path] = "block"
        own = {f"{path}.{name}": _part(name, child) for name, child in modules[path].named_children()}
        found |= {place: part for place, part in own.items() if part is not None}
        if "mlp" not in own.values():
            pairs = dict(_pairs(path, modules[path]))
            found |= dict.fromkeys(pairs, "mlp")
            ends |= pairs
    return found, ends


def _pairs(path: str, block: nn.Module) -> Iterator[tuple[str, str]]:
    """The first and second layer of every MLP of a block that has no module of its own."""
    linear = [
        (f"{path}.{name}", layer)
        for name, layer in block.named_modules()
        if isinstance(layer, nn.Linear) and not any(map(ATTENTION.fullmatch, name.split(".")))
    ]
    for (first, wide), (second, narrow) in itertools.pairwise(linear):
        back = narrow.in_features == wide.out_features and narrow.out_features == wide.in_features
        if back and wide.out_features > wide.in_features:
            yield first, second


def _blocks(modules: Mapping[str, nn.Module]) -> list[str]:
    """The paths of the blocks, in the order of the tree."""
    numbered = {path for path, module in modules.items() if _is_numbered(path) and _is_composite(module)}
    numbered = {path for path in numbered if not _is_part(path.rpartition(".")[2])}
    in_containers, as_attributes = set[str](), set[str]()
    for siblings in _alike(numbered, lambda path: (_prefix(path), type(modules[path]))):
        parent = modules[siblings[0].rpartition(".")[0]]
        (in_containers if isinstance(parent, _CONTAINERS) else as_attributes).update(siblings)
    blocks = _innermost(in_containers)
    blocks |= {path for path in _innermost(as_attributes) if not _related(path, blocks)}
    places = {_starred(path) for path in blocks}
    for mates in _alike(numbered, lambda path: (_starred(path), type(modules[path]))):
        blocks |= set(mates) if _starred(mates[0]) in places else set()
    blocks = _innermost(blocks)
    named = {path for path in blocks if type(modules[path]) is not nn.Sequential}
    return [path for path in modules if path in (named or blocks)]


def _is_composite(module: nn.Module) -> bool:
    """Whether it is a module of modules that itself runs, with at least two matrices or kernels."""
    runs = not isinstance(module, nn.ModuleList | nn.ModuleDict)
    return runs and any(True for _ in module.children()) and _num_weights(module) >= 2


def _num_weights(module: nn.Module) -> int:
    """The number of matrices and kernels among its parameters; embeddings of positions are called otherwise."""
    return sum(name.endswith("weight") and array.ndim >= 2 for name, array in module.named_parameters())


def _alike(paths: set[str], key: Callable[[str], Hashable]) -> Iterator[list[str]]:
    """Groups of at least two paths with equal keys."""
    groups: dict[Hashable, list[str]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return (group for group in groups.values() if len(group) > 1)


def _part(name: str, module: nn.Module) -> Part | None:
    """What a child of a block is, by its name; one that holds both attention and MLP is neither."""
    if _num_weights(module) < 2:
        return None
    if _MLP.fullmatch(name):
        return "mlp"
    names = [inner for inner, _ in module.named_children()]
    holds_both = any(map(ATTENTION.fullmatch, names)) and any(map(_MLP.fullmatch, names))
    return "attention" if ATTENTION.fullmatch(name) and not holds_both else None


def _is_part(name: str) -> bool:
    return any(kind.fullmatch(name) for kind in (ATTENTION, _MLP))


def _is_numbered(path: str) -> bool:
    return path[-1:].isdigit()


def _prefix(path: str) -> str:
    """The path without the number at its end."""
    return path.rstrip("0123456789")


def _starred(path: str) -> str:
    """The place of a module, whatever its numbers: ``stages.*.blocks.*``."""
    return re.sub(r"\d+", "*", path)


def _innermost(paths: set[str]) -> set[str]:
    outer = {parent for path in paths for parent in _parents(path)}
    return paths - outer


def _related(path: str, others: set[str]) -> bool:
    """Whether one of the others is this, around this or inside this."""
    return bool(others & {path, *_parents(path)}) or any(path in _parents(other) for other in others)


def _parents(path: str) -> list[str]:
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names))]
