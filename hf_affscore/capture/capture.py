"""Capture a forward pass: every activation's input before it runs and its output after, in execution order.

Hooks observe activation modules, a ``TorchFunctionMode`` observes function and method calls. Inside an
activation module both are off, so a composite is one call. The model is left unchanged, also after an exception.

Counting semantics:

- One entry per call. A module that runs three times has three entries, numbered 0, 1, 2.
- A module is named by its first path in ``named_modules()``, a function by the innermost module around it,
  the model itself by :data:`~hf_affscore.capture.sites.ROOT`.
- The input is the one that the activation receives after other forward pre-hooks. It is summarised before the
  call, since the call may overwrite it. The output is the one before other forward hooks.
- A gated unit, ``a * sigmoid(b)``, is captured as its gate: input ``b``, output ``sigmoid(b)``.
- A module asked for as a whole (``include``) is listed after the activations inside it, a block before its parts.

A model gives the same outputs as without a capture, to the bit, except that torch's fused inference path of
``nn.TransformerEncoderLayer``, which hides its activation, is off; the unfused path agrees with it up to rounding.
Compiled models run uncompiled.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hf_affscore.capture.activations import Activation
from hf_affscore.capture.arguments import first_tensor, joined
from hf_affscore.capture.batch_axis import Skip
from hf_affscore.capture.below import UNSEEN, Below
from hf_affscore.capture.exotic import is_plain, kind_of
from hf_affscore.capture.layout import Layout
from hf_affscore.capture.running import Begun, Frame
from hf_affscore.capture.selection import Selection
from hf_affscore.capture.sites import ROOT, Call, CallSite, Kind, SkippedCall
from hf_affscore.capture.watched import Watched, WatchedModule
from hf_affscore.errors import InputError
from hf_affscore.torch_settings import uncompiled

T = TypeVar("T")

_capturing = threading.local()

#: Name of the unknown activations of a module that runs in another thread.
THREAD = "(thread)"

_BY_STRIDES = {torch.as_strided, torch.Tensor.as_strided, torch.Tensor.as_strided_}


class Capture(Generic[T]):
    """Context manager that summarises every activation call of the forward pass inside it.

    Args:
        model: The model that will run, which is not changed; or a :class:`Watched`, for many passes.
        summarize: Called with the input and then with the output of every activation, and its site. It must
            not keep the tensor itself, which the model may overwrite later. It may raise :class:`Skip`.
        selection: Which calls are scored; default: activations outside attention. A :class:`Watched` has its own.
        one_image: Whether a single image runs, so that all rows of a first axis are its own.
        below: Whether to list what runs out of sight, too (:mod:`~hf_affscore.capture.below`), which takes time.

    Attributes:
        calls: Captured calls, in execution order.
        skipped: Observed calls that were not captured, in execution order.
        by_strides: Whether it used strides (``as_strided``), so that another memory layout gives other numbers.

    Raises:
        InputError: Another capture is already running in this thread.
        ModelError: The model cannot be observed: it is scripted, or runs in several threads.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        >>> with Capture(model, lambda tensor, site: tuple(tensor.shape)) as seen:
        ...     output = model(torch.ones(3, 4))
        >>> [(str(call.site), call.pre, call.post) for call in seen.calls]
        [('1 ReLU#0', (3, 2), (3, 2))]
    """

    def __init__(
        self,
        model: nn.Module | Watched,
        summarize: Callable[[Tensor, CallSite], T],
        selection: Selection | None = None,
        *,
        one_image: bool = False,
        below: bool = True,
    ) -> None:
        self.calls: list[Call[T]] = []
        self.skipped: list[SkippedCall] = []
        self.by_strides = False
        self._watched = model if isinstance(model, Watched) else Watched(model, selection)
        self._summarize = summarize
        self._selection = self._watched.selection
        self._one_image = one_image
        self._layout = Layout()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._running: list[Frame[T]] = [Frame(ROOT)]  # modules, outermost first
        self._composite: Frame[T] | None = None  # the activation module that is running
        self._open: dict[str, Begun[T]] = {}  # calls that a later module ends, by its path
        self._elsewhere: Counter[tuple[str, str | None]] = Counter()  # modules in other threads
        self._lock = threading.Lock()
        self._unwatched = ExitStack()  # holds the context that hides the function calls inside it
        self._below = Below(
            self._watched.origins, lambda: self._running[-1].path, self._selection, self.skipped
        )
        self._looks_below = below and self._selection.looks_below
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        if getattr(_capturing, "on", False):
            raise InputError(
                "Expected one capture at a time; this thread is inside another. Leave that first."
            )
        with ExitStack() as undo:
            _capturing.on = True
            undo.callback(setattr, _capturing, "on", False)
            undo.enter_context(self._watched.by(self))
            if "torch._dynamo" in sys.modules:  # then something may be compiled
                undo.enter_context(uncompiled)
            if self._looks_below:
                undo.enter_context(self._below)
            undo.enter_context(_Functions(self))
            undo.callback(self._unwatched.close)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()
        self._list_elsewhere()

    def module_begins(self, module: WatchedModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called by the model's hooks before a module runs."""
        (self._below.comes_in if len(self._running) == 1 else self._below.turns_up)(args, kwargs)
        self._running.append(frame := Frame[T](module.path))
        if self._composite is not None or module.activation is None:
            return
        with self._below.covering():
            begun = self._begin(module.activation, "module", args, kwargs)
        end = self._selection.end_of(module.path)
        if end == module.path:
            frame.begun = begun
        else:
            self._open[end] = begun
        if not module.as_a_whole:
            self._composite = frame
            self._below.covers(1)
            self._unwatched.enter_context(torch._C.DisableTorchFunction())

    def module_ends(self, output: Any) -> None:
        """Called by the model's hooks when the innermost running module has ended."""
        frame = self._running[-1]
        if frame is self._composite:
            self._composite = None
            self._unwatched.close()
            self._below.covers(-1)
        self._below.turns_up(output)
        self._running.pop()
        begun = frame.begun or self._open.pop(frame.path, None)
        if begun is not None:
            with self._below.covering():
                self._end(begun, output)

    def module_elsewhere(self, module: WatchedModule) -> None:
        """Called by the model's hooks before a module runs in a thread that the model has started."""
        with self._lock:
            name = module.activation.name if module.activation else None
            self._elsewhere[module.path, name] += 1

    def _list_elsewhere(self) -> None:
        """List the activations that ran in other threads; if there were none, the first module that did."""
        if self._elsewhere:  # then it is known where values came from
            self.skipped[:] = [skip for skip in self.skipped if skip.site.activation != UNSEEN]
        found = [(path, name) for path, name in self._elsewhere if name is not None]
        found = found or [(path, THREAD) for path, _ in itertools.islice(self._elsewhere, 1)]
        reason = "it runs in another thread, where calls have no order and functions cannot be observed"
        for path, name in found:
            for number in range(self._elsewhere.get((path, name), 1)):
                self.skipped.append(SkippedCall(CallSite(path, name, number, "module"), reason))

    def _begin(
        self, activation: Activation, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Begun[T]:
        """Number the call and summarise its input, or record why it is skipped."""
        path = self._running[-1].path
        number = self._counts[path, activation.name]
        self._counts[path, activation.name] += 1
        tensor, axis = first_tensor((*args, *kwargs.values())), None
        site = CallSite(path, activation.name, number, kind, part=self._selection.part_of(path))
        if tensor is None and site.part is not None:
            tensor, axis = joined(args[0] if args else None, self._layout)
        if tensor is not None and is_plain(tensor):
            folded = 1 if self._one_image else self._layout.first_axis.folded_from(tensor)
            axis = self._layout.channel_axis(tensor) if axis is None else axis
            site = replace(site, channel_axis=axis, folded_from=folded)
        begun = Begun[T](site, self._selection.why_skipped(activation, path), len(self.calls))
        if begun.reason is not None:
            return begun
        if activation.role == "gate" and tensor is not None and is_plain(tensor):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else -1)
            with torch._C.DisableTorchFunction():
                gate = tensor.detach().chunk(2, dim)[1]
                self._keep(begun, gate)
                self._keep(begun, gate.sigmoid())
        else:
            self._keep(begun, tensor)
        return begun

    def _end(self, begun: Begun[T], output: Any) -> None:
        """Summarise the output and list the call."""
        if len(begun.kept) == 1:
            self._keep(begun, first_tensor(output))
        if begun.reason is None:
            pre, post = begun.kept
            place = begun.place if begun.site.part else len(self.calls)
            self.calls.insert(place, Call(begun.site, pre, post, begun.shape))
        else:
            self.skipped.append(SkippedCall(begun.site, begun.reason))

    def _keep(self, begun: Begun[T], tensor: Tensor | None) -> None:
        """Summarise one side of the call, hidden from function modes, or record why it is skipped."""
        if begun.reason is not None:
            return
        if tensor is None:
            begun.reason = f"no tensor among its {'outputs' if begun.kept else 'inputs'}"
            return
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            begun.reason = "it runs inside torch.func's vmap, where no tensor holds the whole batch"
            return
        try:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                if not begun.kept:
                    begun.shape = tuple(tensor.shape)
                begun.kept.append(self._summarize(tensor.detach(), begun.site))
        except Skip as skip:
            begun.reason = str(skip)
        except Exception as error:  # an exotic tensor may refuse any operation; the model still uses it
            if is_plain(tensor):
                raise
            side, said = (
                "output" if begun.kept else "input",
                f"{type(error).__name__}: {error}".splitlines()[0],
            )
            begun.reason = f"its {side}, a {kind_of(tensor)}, has no rows that can be read ({said})"


class _Functions(TorchFunctionMode):
    """Reports the function calls of a forward pass to a capture; it is off inside reported functions."""

    def __init__(self, capture: Capture[Any]) -> None:
        super().__init__()
        self._capture = capture

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self._capture._watched.state.before(func, args, kwargs)
        activation = self._capture._selection.of_function(func)
        if activation is None:
            self._capture._below.is_called(func, args)
            output = func(*args, **kwargs)
            self._capture._layout.after(func, args, output)
            self._capture.by_strides |= func in _BY_STRIDES
            return output
        self._capture._below.turns_up(args, [value for name, value in kwargs.items() if name != "out"])
        with self._capture._below.covering():
            begun = self._capture._begin(activation, "function", args, kwargs)
            output = func(*args, **kwargs)
            self._capture._end(begun, output)
        return output
