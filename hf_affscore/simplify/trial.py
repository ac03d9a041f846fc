"""Tries maps in a network, alone and together, and keeps those with which images keep their class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from hf_affscore.simplify.sample import Part, logits

#: Shares are quotients of floating point: 7 of 10 images are as many as 1 - 0.3.
ROUNDING = 1e-9


class Place(Protocol):
    """What can be replaced: an activation or a block."""

    @property
    def path(self) -> str:
        """The module, in the network in which maps are tried."""

    @property
    def reason(self) -> str | None:
        """Why it cannot be replaced; None if it can."""


@dataclass(frozen=True)
class Replacement:
    """A map that may take the place of a module.

    Attributes:
        site: What it would replace.
        tried: Computes the map while it is tried.
        r2: Share of the variance of the output that the map explains.
        settle: Given the network with ``tried`` in it, puts ordinary modules that do the same in its place, and
            returns where the map went; None if there is no exact way, and ``tried`` is then still in place. A way
            is taken only if the function that it is given says yes: half precision rounds differently.
    """

    site: Place
    tried: nn.Module
    r2: float
    settle: Callable[[nn.Module, Callable[[], bool]], str | None]


def put(model: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module in the place of another, which is returned."""
    parent, _, name = path.rpartition(".")
    replaced = model.get_submodule(path)
    setattr(model.get_submodule(parent), name, module)
    return replaced


class Trial:
    """Tries maps in one network, on the images that choose.

    Args:
        network: Changed in place.
        images: Those that choose.
        replacements: What can be put in.
        budget: Largest share of images that may get another class.
    """

    def __init__(
        self, network: nn.Module, images: Part, replacements: Sequence[Replacement], budget: float
    ) -> None:
        self._network, self._images = network, images
        self.least = 1 - budget - ROUNDING  # agreement below this is too little
        self._replacements = {each.site.path: each for each in replacements}
        self._wanted = logits(network, images)
        self._maps: dict[str, str] = {}  # where each map went, by the path of what it replaced
        self._alone: dict[str, tuple[float, float]] = {}  # agreement, and how much the logits change
        self._together: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    def alone(self, each: Replacement) -> None:
        """Measure one map in the unchanged network."""
        path, runs = each.site.path, list[None]()
        forward = each.tried.forward

        def counted(*args: Any, **kwargs: Any) -> Any:  # a hook would keep torch from its fused path
            runs.append(None)
            return forward(*args, **kwargs)

        each.tried.forward = counted
        replaced = put(self._network, path, each.tried)
        try:
            given = logits(self._network, self._images)
        except Exception as error:  # the network may read anything of what was there
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            self._reasons[path] = f"the network does not run with a map in its place ({said})"
            return
        finally:
            del each.tried.forward
            put(self._network, path, replaced)
        if not runs:
            self._reasons[path] = "a module in its place does not run: the network reaches it another way"
            return
        change = float((given - self._wanted).double().square().mean())
        self._alone[path] = self._agreement(given), change

    def leave(self, reason: str) -> None:
        """Try nothing."""
        self._reasons = dict.fromkeys(self._replacements, reason)

    def order(self) -> list[Replacement]:
        """The order in which maps are tried together: by agreement alone, then by how little the logits change."""
        measured = [each for each in self._replacements.values() if each.site.path in self._alone]
        alone = self._alone
        return sorted(measured, key=lambda each: (-alone[each.site.path][0], alone[each.site.path][1]))

    def together(self, each: Replacement) -> None:
        """Replace a module for good if enough images keep their class."""
        path = each.site.path
        outer = next((other for other in self._maps if path.startswith(f"{other}.")), None)
        if outer is not None:
            self._reasons[path] = f"it is part of {outer}, which is replaced as a whole"
            return
        if self._alone[path][0] < self.least:
            self._reasons[path] = "too few images keep their class with it alone replaced"
            return
        replaced = put(self._network, path, each.tried)
        self._together[path] = agreement = self.agreement()
        if agreement < self.least:
            self._reasons[path] = "too few keep it with this one and those before it replaced"
        elif (where := each.settle(self._network, self._is_allowed)) is None:
            self._reasons[path] = "no layer beside it can take the map in, and no convolution takes its place"
        else:
            for inner in [other for other in self._maps if other.startswith(f"{path}.")]:
                del self._maps[inner]
                self._reasons[inner] = f"it is part of {path}, which is replaced as a whole"
            self._maps[path] = where
            return
        put(self._network, path, replaced)

    def _is_allowed(self) -> bool:
        return self.agreement() >= self.least

    def agreement(self) -> float:
        """The share of images that keep their class in the network as it is now."""
        return self._agreement(logits(self._network, self._images))

    def found(self, site: Place) -> dict[str, Any]:
        """What was found about one site."""
        path = site.path
        each = self._replacements.get(path) if site.reason is None else None
        return {
            "r2": math.nan if each is None else each.r2,
            "agreement_alone": self._alone.get(path, (math.nan, 0))[0] if each else math.nan,
            "agreement_together": self._together.get(path, math.nan) if each else math.nan,
            "replaced": each is not None and path in self._maps,
            "map": self._maps.get(path) if each else None,
            "reason": site.reason or self._reasons.get(path),
        }

    def _agreement(self, given: Tensor) -> float:
        return float((classes(given) == classes(self._wanted)).double().mean())


def classes(given: Tensor) -> Tensor:
    """The class of every image; -1 for logits with NaN, of which the largest would be the first NaN."""
    return given.argmax(1).masked_fill(given.isnan().any(1), -1)
