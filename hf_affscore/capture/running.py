"""What is running at a moment of a forward pass: modules, and calls whose output is not known yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hf_affscore.capture.sites import CallSite

T = TypeVar("T")


@dataclass
class Begun(Generic[T]):
    """A call whose output is not known yet."""

    site: CallSite
    reason: str | None
    place: int  # of a block in the list of calls
    shape: tuple[int, ...] = ()
    kept: list[T] = field(default_factory=list)  # of the input, then of the output


@dataclass(eq=False)
class Frame(Generic[T]):
    """A module that is running."""

    path: str
    begun: Begun[T] | None = None
