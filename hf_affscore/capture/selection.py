"""Decides which observed calls are scored, and gives the reason for the others.

By default every activation outside attention is scored, as in the paper. ``include`` adds calls, ``exclude``
removes calls; both take names of activations or classes (``"softmax"``, ``"LayerNorm"``) and paths of modules
(``"layer1.0"``), with shell wildcards (``"layer1.*"``, ``"*GELU*"``; a ``*`` also matches dots).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from hf_affscore.capture.activations import Activation, Role, of_function, of_module
from hf_affscore.capture.features import WIDTHS
from hf_affscore.capture.sites import CallSite
from hf_affscore.errors import InputError, warn
from hf_affscore.spelling import did_you_mean

#: Why a role is not scored unless it is asked for.
REASONS: dict[Role, str] = {
    "softmax": "softmax mixes the entries of a row and is no element-wise activation",
    "attention": "attention is left out, as in the paper",
    "recurrent": "the gates inside a recurrent cell cannot be observed from outside",
    "fused": "its activation runs inside a fused kernel, where input and output cannot be observed",
    "custom": "a custom operator; activations inside it cannot be observed",
}

#: Roles that cannot be scored, even if ``include`` asks for them.
UNSEEN: tuple[Role, ...] = ("fused", "custom")

#: Names of modules that are attention.
ATTENTION = re.compile(r"(?:.*_)?(?:attn|attention)\d*(?:_.*)?")


@dataclass
class Selection:
    """The decision about each call. Remembers calls and modules, to detect patterns that match nothing.

    Raises:
        InputError: The patterns are a string, not a list of strings.

    Example:
        >>> relu = Activation("ReLU", "activation")
        >>> Selection().why_skipped(relu, "blocks.0.attn.proj")
        "inside attention ('attn' in the path), which is left out, as in the paper"
        >>> Selection(include=["*.attn.*"]).why_skipped(relu, "blocks.0.attn.proj") is None
        True
        >>> Selection(exclude=["ReLU*"]).why_skipped(relu, "layer1.0")
        "excluded by 'ReLU*'"
    """

    include: Iterable[str] = ()
    exclude: Iterable[str] = ()
    # Names and paths of all calls so far, and of all modules, called or not.
    _calls: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False)
    _modules: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, patterns in (("include", self.include), ("exclude", self.exclude)):
            if isinstance(patterns, str):
                raise InputError(f"{name} is {patterns!r}; expected a list of patterns, [{patterns!r}].")
        self.include, self.exclude = tuple(self.include), tuple(self.exclude)

    #: Whether activations that run out of sight of Python are looked for.
    looks_below = True

    def of_module(self, module: nn.Module) -> Activation | None:
        """The activation that a module is; None if it is none."""
        return of_module(module)

    def of_function(self, function: Callable[..., Any]) -> Activation | None:
        """The activation that a function is; None if it is none."""
        return of_function(function)

    def part_of(self, path: str) -> str | None:
        """What a module is in its network, where blocks are selected; None for an activation."""
        return None

    def end_of(self, path: str) -> str:
        """The module at whose end a module that is asked for ends: itself, or a later one."""
        return path

    def note_module(self, module: nn.Module, path: str) -> None:
        """Remember that the model has a module, whether it is called or not."""
        self._modules.add((type(module).__name__, path))

    def is_asked_for(self, module: nn.Module, path: str) -> bool:
        """Whether a module that is not an activation is scored as a whole."""
        return first_match(self.include, type(module).__name__, path) is not None

    def why_skipped(self, activation: Activation, path: str) -> str | None:
        """Why a call is not scored, or ``None`` if it is.

        Calls inside attention are left out: those whose path has a component with the word ``attn`` or
        ``attention`` (``attn``, ``self_attention``, ``attention_output``, ``attn1``).

        Args:
            activation: What was called.
            path: Path of the module that ran, or that encloses the function call.
        """
        self._calls.add((activation.name, path))
        if (pattern := first_match(self.exclude, activation.name, path)) is not None:
            return f"excluded by {pattern!r}"
        if activation.role not in UNSEEN and first_match(self.include, activation.name, path) is not None:
            return None
        if activation.role in REASONS:
            return REASONS[activation.role]
        inside = next((part for part in path.split(".") if ATTENTION.fullmatch(part)), None)
        return inside and f"inside attention ({inside!r} in the path), which is left out, as in the paper"

    def check_all_matched(self, sites: Iterable[CallSite] = ()) -> None:
        """Check the patterns after the model has run. Warns of patterns that match modules but no call.

        Args:
            sites: Calls of an earlier run that this run continues.

        Raises:
            InputError: A pattern matches nothing in the model: it is misspelt, or meant for another model.
        """
        calls = self._calls.union((site.activation, site.module) for site in sites)
        for name, patterns in (("include", self.include), ("exclude", self.exclude)):
            idle = [pattern for pattern in patterns if not _matches_any(pattern, calls)]
            unmatched = [pattern for pattern in idle if not _matches_any(pattern, self._modules)]
            if unmatched:
                there = dict.fromkeys(word for pair in (*calls, *self._modules) for word in pair)
                raise InputError(
                    f"{name} has patterns that match no activation, module class or module path of this "
                    f"model: {', '.join(map(repr, unmatched))}. `hf-affscore inspect` lists what there is; "
                    f"upper and lower case differ.{did_you_mean(unmatched[0], there)}"
                )
            if idle:
                warn(
                    f"{name}: {', '.join(map(repr, idle))} match modules, but no activation that ran. "
                    f"For the activations inside a module use a pattern such as {idle[0] + '.*'!r}."
                )


def nothing_to_score(network: str, skipped: Iterable[tuple[str, str]]) -> str:
    """The message for a network without a call that can be scored.

    Args:
        network: Its class.
        skipped: Activation and reason of each call that was left out.

    Example:
        >>> nothing_to_score("Linear", []).partition(", or")[0]
        'No activation was found in Linear: name what to score with include= (--include)'
    """
    counts = Counter(skipped)
    left_out = "; ".join(
        f"{count} x {activation}, {reason}" for (activation, reason), count in counts.items()
    )
    found = f"No activation was found in {network}"
    if left_out:
        found = f"No activation of {network} can be scored ({left_out})"
    advice = ""
    if any(reason.startswith(WIDTHS) for _, reason in counts):
        advice = (
            " Where the width follows the size of the image, pass images of one size, or pooling='channels' "
            "(--pooling channels)."
        )
    return (
        f"{found}: name what to score with include= (--include), or make a function of your own known with "
        f"hf_affscore.register_activation.{advice}"
    )


def no_blocks(network: str) -> str:
    """The message for a network that repeats no block.

    Example:
        >>> no_blocks("VGG")
        'No repeated blocks were found in VGG: name modules that are its blocks with include= (--include).'
    """
    return (
        f"No repeated blocks were found in {network}: name modules that are its blocks "
        "with include= (--include)."
    )


def first_match(patterns: Iterable[str], name: str, path: str) -> str | None:
    """The first pattern that matches the name or the path."""
    return next((pattern for pattern in patterns if _matches(pattern, name, path)), None)


def _matches(pattern: str, name: str, path: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(path, pattern)


def _matches_any(pattern: str, names_and_paths: Iterable[tuple[str, str]]) -> bool:
    return any(_matches(pattern, name, path) for name, path in names_and_paths)
