"""What a model computes out of sight of hooks and of Python's functions, noticed at torch's dispatcher.

Two things are noticed. They are listed as skipped: what most passes do not show is not scored.

- Activations that no module and no function of Python stands for: operators of scripted code and of extensions in
  C++, and those inside functions of torch that are no activations themselves.
- Values that no operator made (:mod:`hf_affscore.capture.origins`). Where they turn up is known, what made them is
  not. In a model that computes with tensors whose class has rules of its own, origins are unknown, and nothing of
  this kind is listed.

Noticing takes time at every operator, so an analysis does it in its first passes only
(:mod:`hf_affscore.run.probe`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hf_affscore.capture.activations import of_function
from hf_affscore.capture.exotic import has_rules, tensors_in
from hf_affscore.capture.origins import Origins
from hf_affscore.capture.selection import Selection
from hf_affscore.capture.sites import ROOT, CallSite, SkippedCall
from hf_affscore.torch_settings import observing

#: Name that stands for activations that nothing but their result shows.
UNSEEN = "(unseen)"

BELOW = "it runs below Python's functions (scripted code, an extension), where it cannot be scored"
NO_OPERATOR = (
    "values arise here that no operator of torch has made: in another thread, or in a kernel of its own"
)
FROM_NUMBERS = "values come back to torch here from numpy or from Python's numbers"

#: What is listed of a model that runs only while nobody looks.
NOT_OBSERVED = SkippedCall(
    CallSite(ROOT, UNSEEN, 0, "operator"),
    "the model fails while its operators are observed, so that activations in scripted code, in other threads "
    "and in kernels of its own, if it has any, are not listed",
)

#: Functions that hand the memory of a tensor to others, who may write to it.
_LENDS = {"numpy", "__array__", "__dlpack__", "data_ptr", "apply_", "map_", "map2_"}

#: Operators that make a tensor without filling it, and others that look at nothing but the shape of their inputs.
_BLANK = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
_BY_SHAPE = _BLANK | {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}


class Below(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is not annotated
    """Notices what runs inside the context and is listed nowhere.

    Args:
        origins: What is known of the model's tensors.
        here: The path of the innermost module that is running.
        selection: Which calls are scored, for the reasons.
        skipped: The list that what is noticed is added to.

    Example:
        >>> skipped = []
        >>> with Below(Origins(torch.nn.Identity()), lambda: "block", Selection(), skipped):
        ...     output = torch.ones(2).relu()
        >>> str(skipped[0].site)
        'block relu#0'
    """

    supports_higher_order_operators = True

    def __init__(
        self, origins: Origins, here: Callable[[], str], selection: Selection, skipped: list[SkippedCall]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._origins, self._here, self._selection, self._skipped = origins, here, selection, skipped
        self._is_on = False
        self._has_rules = False  # some tensors compute by rules of their own
        self._covers = 0  # what is listed and running now
        self._counts: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        self._origins.begin_pass()
        self._is_on = True
        observing.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        observing.__exit__(*error)

    def covers(self, more: int) -> None:
        """Count what is listed and running: ``more`` is 1 when it begins and -1 when it ends."""
        self._covers += more

    @contextmanager
    def covering(self) -> Iterator[None]:
        """What runs in this context is listed by somebody else."""
        self.covers(1)
        try:
            yield
        finally:
            self.covers(-1)

    def comes_in(self, *values: Any) -> None:
        """Tensors that the caller of the model hands in."""
        if self._is_on:
            with torch._C.DisableTorchFunction():
                for tensor in tensors_in(values):
                    self._origins.note_input(tensor)

    def turns_up(self, *values: Any) -> None:
        """Tensors that a listed call takes, or that a module returns."""
        if self._is_on and self._covers == 0:
            with torch._C.DisableTorchFunction(), self.covering():
                for tensor in tensors_in(values):
                    self._look_at(tensor, reads=True)

    def is_called(self, func: Any, args: tuple[Any, ...]) -> None:
        """A function of torch is about to run, which may hand the memory of a tensor to others."""
        if self._is_on and getattr(func, "__name__", None) in _LENDS:
            with self.covering():
                for tensor in tensors_in(args[:1]):
                    self._origins.note_loan(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if self._covers == 0:
                self._look_at_inputs(func, args, kwargs)
                self._look_at_operator(func)
            if _writes(func):
                for tensor in tensors_in((args, kwargs)):
                    self._origins.note_write(tensor)
            output = func(*args, **kwargs)
        self._has_rules |= any(map(has_rules, types))
        for tensor in tensors_in(output):
            self._origins.note(tensor, blank=_name(func) in _BLANK)
        return output

    def _look_at_operator(self, func: Any) -> None:
        activation = of_function(func)
        if activation is not None:
            path = self._here()
            self._list(path, activation.name, self._selection.why_skipped(activation, path) or BELOW)

    def _look_at_inputs(self, func: Any, args: Any, kwargs: Any) -> None:
        name = _name(func)
        reads = not (_writes(func) or getattr(func, "is_view", False))
        for tensor in tensors_in((args, kwargs)):
            if name not in _BY_SHAPE:
                self._look_at(tensor, reads=reads, lifted=name == "lift_fresh")

    def _look_at(self, tensor: Tensor, *, reads: bool, lifted: bool = False) -> None:
        """List the running module, once, if no operator has made this tensor's values."""
        if self._origins.is_unknown(tensor, reads=reads, lifted=lifted) and not self._has_rules:
            path = self._here()
            if self._counts[path, UNSEEN] == 0:
                self._list(path, UNSEEN, FROM_NUMBERS if lifted else NO_OPERATOR)

    def _list(self, path: str, name: str, reason: str) -> None:
        site = CallSite(path, name, self._counts[path, name], "operator")
        self._counts[path, name] += 1
        self._skipped.append(SkippedCall(site, reason))


def _writes(func: Any) -> bool:
    """Whether an operator writes to some of its arguments."""
    return isinstance(func, torch._ops.OpOverload) and func._schema.is_mutable


def _name(func: Any) -> str:
    name: str = getattr(getattr(func, "overloadpacket", func), "__name__", "")
    return name
