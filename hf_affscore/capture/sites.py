"""Records of activation calls: where each was made, and what was kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Kind = Literal["module", "function", "operator"]

#: Path of the model itself, whose name in ``named_modules()`` is empty.
ROOT = "(model)"


@dataclass(frozen=True)
class CallSite:
    """One activation call of a forward pass; the same call has equal sites in every pass.

    Attributes:
        module: Path of the module that ran; for a function, of the innermost module around the call.
        activation: Name of the class (``"ReLU"``) or function (``"relu"``).
        call: Number of the call among those with the same module and activation, from 0.
        kind: ``"module"``, ``"function"``, or ``"operator"`` for what was noticed below the functions of Python
            only.
        channel_axis: The axis that holds the channels: 1, or the last (:mod:`hf_affscore.capture.layout`).
        folded_from: Length of the first axis before others were folded into it in order, if that is certain.
        part: ``"block"``, ``"attention"`` or ``"mlp"`` where blocks are observed, not activations.
    """

    module: str
    activation: str
    call: int
    kind: Kind
    channel_axis: int = field(default=1, compare=False)
    folded_from: int | None = field(default=None, compare=False)
    part: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.module} {self.activation}#{self.call}"


@dataclass(frozen=True)
class Call(Generic[T]):
    """An activation call and what was kept of it.

    Attributes:
        site: Where it was made.
        pre: Result of ``summarize`` for the input.
        post: Result of ``summarize`` for the output.
        shape: Shape of the input.
    """

    site: CallSite
    pre: T
    post: T
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SkippedCall:
    """An activation call that was observed but not kept, and the reason."""

    site: CallSite
    reason: str
