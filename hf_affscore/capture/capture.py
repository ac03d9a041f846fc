"""Watch a forward pass: every activation's input before it runs and its output after, in execution order.

Activation modules are seen by hooks, function and method calls by a ``TorchFunctionMode``. Inside an
activation module both are off, so a composite is one call. The model is left exactly as it was found, also
after an exception.

Counting semantics:

- One entry per call. A module that runs three times has three entries, numbered 0, 1, 2.
- A module is named by its first path in ``named_modules()``, a function by the innermost module around it,
  the model itself by :data:`ROOT`.
- The input is what the activation really receives, after other forward pre-hooks, and is summarised before
  the call, since the call may overwrite it. The output is what it returns, before other forward hooks.

The model computes what it computes unwatched, to the bit, with one exception: torch's fused inference path
of ``nn.TransformerEncoderLayer`` hides its activation, is off while a model is watched, and agrees with the
unfused path to rounding only.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hf_affscore.capture.activations import Activation, of_function, of_module, why_skipped
from hf_affscore.capture.pooling import Skip
from hf_affscore.errors import InputError, ModelError

T = TypeVar("T")
Kind = Literal["module", "function"]

#: Path of the model itself, whose name in ``named_modules()`` is empty.
ROOT = "(model)"

_capturing = threading.local()


@dataclass(frozen=True)
class Site:
    """One activation call of a forward pass; the same in every pass over the same model.

    Attributes:
        module: Path of the module that ran; for a function, of the innermost module around the call.
        activation: Name of the class (``"ReLU"``) or function (``"relu"``).
        call: Number of the call among those of equal module and activation, from 0.
        kind: ``"module"`` or ``"function"``.
    """

    module: str
    activation: str
    call: int
    kind: Kind

    def __str__(self) -> str:
        return f"{self.module} {self.activation}#{self.call}"


@dataclass(frozen=True)
class Call(Generic[T]):
    """An activation call and what was kept of it.

    Attributes:
        site: Where it happened.
        pre: What ``summarize`` made of the input.
        post: What ``summarize`` made of the output.
        shape: Shape of input and output.
    """

    site: Site
    pre: T
    post: T
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SkippedCall:
    """An activation call that was seen and not kept, and why."""

    site: Site
    reason: str


class Capture(Generic[T]):
    """Context manager that summarises every activation call of the forward pass inside it.

    Args:
        model: The model that will run. Not changed.
        summarize: Called with the input and then with the output of every activation, and its site. It must
            not keep the tensor itself, which the model may go on to overwrite. It may raise :class:`Skip`.

    Attributes:
        calls: What was captured, in execution order.
        skipped: What was seen and not captured, in execution order.

    Raises:
        InputError: Another capture is already running in this thread.
        ModelError: The model is scripted, or spreads over several threads, and cannot be watched.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        >>> with Capture(model, lambda tensor, site: tuple(tensor.shape)) as seen:
        ...     output = model(torch.ones(3, 4))
        >>> [(str(call.site), call.pre, call.post) for call in seen.calls]
        [('1 ReLU#0', (3, 2), (3, 2))]
    """

    def __init__(self, model: nn.Module, summarize: Callable[[Tensor, Site], T]) -> None:
        self.calls: list[Call[T]] = []
        self.skipped: list[SkippedCall] = []
        self._model = model
        self._summarize = summarize
        self._counts: Counter[tuple[str, str]] = Counter()
        self._paths = [ROOT]  # of the modules that are running, outermost first
        self._composite: tuple[int, _Begun[T]] | None = None  # the activation module running, and its depth
        self._unwatched = ExitStack()  # holds what switches function calls off inside it
        self._undo = ExitStack()
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        _refuse_unwatchable(self._model)
        if getattr(_capturing, "on", False):
            raise InputError(
                "Expected one capture at a time; this thread is inside another. Leave that first."
            )
        self._thread = threading.get_ident()
        with ExitStack() as undo:
            _capturing.on = True
            undo.callback(setattr, _capturing, "on", False)
            for path, module in self._model.named_modules():
                before, after = self._hooks(path or ROOT, of_module(module))
                undo.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                # First in line, to see the module's own output; on errors too, to know where we are.
                undo.callback(module.register_forward_hook(after, prepend=True, always_call=True).remove)
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

    def _hooks(
        self, path: str, activation: Activation | None
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        """What runs before and after a module; neither changes its input or output.

        Calls from other threads, which may share the model, are none of this capture's business.
        """

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if threading.get_ident() != self._thread:
                return
            self._paths.append(path)
            if activation is not None and self._composite is None:
                self._composite = (len(self._paths), self._begin(activation, "module", args, kwargs))
                self._unwatched.enter_context(torch._C.DisableTorchFunction())

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if threading.get_ident() != self._thread:
                return
            if self._composite is not None and self._composite[0] == len(self._paths):
                self._unwatched.close()
                begun, self._composite = self._composite[1], None
                self._end(begun, output)
            self._paths.pop()

        return before, after

    def _begin(
        self, activation: Activation, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _Begun[T]:
        """Number the call and summarise its input, or find the reason why not."""
        path = self._paths[-1]
        site = Site(path, activation.name, self._counts[path, activation.name], kind)
        self._counts[path, activation.name] += 1
        tensor = args[0] if args else kwargs.get("input")
        begun: _Begun[T] = _Begun(site, why_skipped(activation, path))
        if begun.reason is None:
            self._keep(begun, tensor)
        return begun

    def _end(self, begun: _Begun[T], output: Any) -> None:
        """Summarise the output and list the call."""
        if begun.reason is None:
            self._keep(begun, output)
        if begun.reason is None:
            pre, post = begun.kept
            self.calls.append(Call(begun.site, pre, post, begun.shape))
        else:
            self.skipped.append(SkippedCall(begun.site, begun.reason))

    def _keep(self, begun: _Begun[T], tensor: Any) -> None:
        """Summarise one side of the call, out of sight of every function mode, or note why not."""
        side = "output" if begun.kept else "input"
        if not isinstance(tensor, Tensor):
            begun.reason = f"its {side} is no tensor but {type(tensor).__name__}"
        elif begun.kept and begun.shape != tuple(tensor.shape):
            begun.reason = f"input {begun.shape} and output {tuple(tensor.shape)} have different shapes"
        else:
            begun.shape = tuple(tensor.shape)
            try:
                with torch._C.DisableTorchFunction(), torch.no_grad():
                    begun.kept.append(self._summarize(tensor.detach(), begun.site))
            except Skip as skip:
                begun.reason = str(skip)


@dataclass
class _Begun(Generic[T]):
    """A call whose output is not there yet."""

    site: Site
    reason: str | None
    shape: tuple[int, ...] = ()
    kept: list[T] = field(default_factory=list)  # of the input, then of the output


class _Functions(TorchFunctionMode):
    """Reports the function calls of a forward pass to a capture; it is off inside what it reports."""

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
        activation = of_function(func)
        if activation is None:
            return func(*args, **kwargs)
        begun = self._capture._begin(activation, "function", args, kwargs)
        output = func(*args, **kwargs)
        self._capture._end(begun, output)
        return output


def _refuse_unwatchable(model: nn.Module) -> None:
    """Raise for models whose activations run where no hook and no function mode sees them."""
    for path, module in model.named_modules():
        where = f"{path or ROOT} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"Expected a model that runs in Python; {where} is a TorchScript module, whose activations "
                "cannot be observed. Pass the model as it was before torch.jit.script or torch.jit.trace."
            )
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ModelError(
                f"Expected a model that runs in one thread; {where} runs copies in "
                f"{len(module.device_ids)} threads at once. Pass the model inside it: `model.module`."
            )
