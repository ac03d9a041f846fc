"""Which activations of a network can be replaced, and the layers beside each that can take an affine map in.

A replacement is made module by module, so an activation has to be a module that runs once in a forward pass; calls
of other kinds get a module of their own before (:mod:`hf_affscore.simplify.calls`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from hf_affscore.capture import ROOT, Call, Capture
from hf_affscore.capture.activations import FUNCTIONS, of_module
from hf_affscore.errors import InputError, NoActivationError
from hf_affscore.simplify.calls import Called, Separated
from hf_affscore.simplify.neighbours import Layer, Neighbours, neighbours
from hf_affscore.simplify.sample import Part
from hf_affscore.spelling import did_you_mean

#: Why a site stays that nobody asked for.
NOT_ASKED_FOR = "not among the sites that were asked for"

#: The convolution for an input of so many axes.
CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


@dataclass(frozen=True)
class Site:
    """An activation of a network.

    Attributes:
        module: Path of the module; for a function, of the innermost module around the call.
        activation: Name of the class or function.
        call: Number of the call among those of this module.
        elements: Entries of its output for one image.
        path: Where its module is in the network in which maps are tried.
        axis: The axis that holds the channels.
        ndim: Number of axes of its input.
        before: The layer that made its input, if that is known and has a weight in every channel.
        after: The layer that takes its output, if that is known and has a weight for every channel.
        reason: Why it cannot be replaced; None if it can.
    """

    module: str
    activation: str
    call: int
    elements: int
    path: str
    axis: int
    ndim: int
    before: Layer | None = None
    after: Layer | None = None
    reason: str | None = None

    def row(self) -> dict[str, Any]:
        """What a report says of it."""
        return {name: getattr(self, name) for name in ("module", "activation", "call", "elements")}


def find_sites(
    model: nn.Module, images: Part, sites: Sequence[str] | None, separated: Separated | None = None
) -> list[Site]:
    """The activations that run, in execution order.

    Args:
        model: In evaluation mode.
        images: A few.
        sites: Paths of modules or names of activations that may be replaced, with wildcards; None: all.
        separated: Where the model comes from, if its calls got modules of their own.

    Raises:
        InputError: A pattern matches no activation that runs.
        NoActivationError: No activation runs.
    """
    calls = _calls(model, images)
    names = [call.site for call in calls] if separated is None else separated.calls
    left = {} if separated is None else separated.reasons
    check_patterns(sites, [(name.module, name.activation) for name in names], "activation")
    runs = Counter(call.site.module for call in calls)
    count = min(len(images), images.size)
    made = []
    for call, name in zip(calls, names, strict=True):
        asked = sites is None or matches_any(sites, name.module, name.activation)
        reason = left.get(name) or _reason(call, runs[call.site.module], model)
        made.append(
            Site(
                *(name.module, name.activation, name.call),
                elements=torch.Size(call.shape).numel() // count,
                path=call.site.module,
                axis=call.site.channel_axis,
                ndim=len(call.shape),
                reason=reason if asked else NOT_ASKED_FOR,
            )
        )
    beside = neighbours(model, [site.path for site in made if site.reason is None], images)
    return [_placed(site, beside[site.path]) if site.reason is None else site for site in made]


def takes_convolution(site: Site) -> bool:
    """Whether a convolution of 1 x 1, channel by channel, can stand in the place of an activation."""
    return site.axis == 1 and site.ndim in CONVOLUTIONS


def check_patterns(sites: Sequence[str] | None, names: Sequence[tuple[str, ...]], kind: str) -> None:
    """Check what was asked for.

    Args:
        sites: Patterns.
        names: The words of every site that a pattern can match.
        kind: What a site is.

    Raises:
        InputError: A pattern matches nothing.
    """
    if isinstance(sites, str):
        raise InputError(f"sites is {sites!r}; expected a list of patterns, [{sites!r}].")
    for pattern in sites or ():
        if not any(matches_any([pattern], *words) for words in names):
            known = dict.fromkeys(word for words in names for word in words)
            level = "" if kind == "activation" else " --level blocks"
            raise InputError(
                f"sites has {pattern!r}, which matches no {kind} that runs. `hf-affscore inspect{level}` lists "
                f"them.{did_you_mean(pattern, known)}"
            )


def matches_any(patterns: Iterable[str], *words: str) -> bool:
    """Whether a pattern matches one of the words."""
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


def _calls(model: nn.Module, images: Part) -> list[Call[tuple[int, ...]]]:
    with Capture(model, lambda tensor, site: tuple(tensor.shape)) as seen:
        images.first(images.size).run_through(model)
    if not seen.calls:
        raise NoActivationError(
            f"No activation was found in {type(model).__name__}, so there is nothing to replace. `hf-affscore "
            "inspect` lists what runs and why it is left out."
        )
    return seen.calls


def _reason(call: Call[tuple[int, ...]], runs: int, model: nn.Module) -> str | None:
    """Why a call cannot be replaced; None if it can, as far as one pass shows."""
    site = call.site
    if site.module == ROOT and site.kind == "module":
        return "it is the whole model"
    module = model.get_submodule("" if site.module == ROOT else site.module)
    known = None if site.kind == "function" else of_module(module)
    is_gate = site.activation in FUNCTIONS["gate"] or (known is not None and known.role != "activation")
    if is_gate or (site.kind == "module" and known is None):
        return "it is no element-wise activation"
    if site.kind != "module" and not isinstance(module, Called):
        return "called as a function, which no module can replace"
    if runs > 1:
        return (
            f"its module runs {runs} times in a pass, so that one call cannot be replaced without the others"
        )
    if call.pre != call.post:
        return f"its output has another shape, {call.post}, than its input, {call.pre}"
    return None


def _placed(site: Site, beside: Neighbours) -> Site:
    """With the layers beside it; with a reason if its map could go nowhere."""
    before, after = beside.before, beside.after
    axis = site.axis if before is None else before.axis % site.ndim
    found = replace(site, axis=axis, before=before, after=after)
    if before is None and after is None and not takes_convolution(found):
        why = "no layer beside it can take the map in, and its channels are not on the second axis"
        return replace(found, reason=why)
    return found
