"""Hooks on the modules of a model that report when each module begins and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hf_affscore.capture.activations import Activation
from hf_affscore.capture.origins import Origins
from hf_affscore.capture.selection import Selection
from hf_affscore.capture.sites import ROOT
from hf_affscore.capture.state import ModelState
from hf_affscore.errors import InputError, ModelError


@dataclass(frozen=True)
class WatchedModule:
    """A module as known before it runs.

    Attributes:
        path: Its first path in ``named_modules()``.
        activation: The activation that it is, or is treated as; None for other modules.
        as_a_whole: Whether it was asked for by ``include``; activations inside it are then listed as well.
    """

    path: str
    activation: Activation | None
    as_a_whole: bool = False


class Watcher(Protocol):
    """The receiver of the hooks' reports: :class:`~hf_affscore.capture.capture.Capture`."""

    def module_begins(self, module: WatchedModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called before a module runs on these arguments."""

    def module_ends(self, output: Any) -> None:
        """Called after the innermost running module has ended; ``output`` is None if it failed."""

    def module_elsewhere(self, module: WatchedModule) -> None:
        """Called before a module runs in a thread that the model has started."""


class Watched:
    """A model with hooks on its modules, which report to the active capture, if there is one.

    A capture adds the hooks and removes them afterwards. Used as a context around many captures in one thread, this
    class keeps the hooks, which saves that work in every pass. The hooks change neither inputs nor outputs. Hooks
    and modules that are added to the model later are left alone.

    Args:
        model: The model.
        selection: Which calls are scored.

    Attributes:
        selection: The same.
        origins: What is known of the model's tensors.

    Raises:
        ModelError: On entering, if the model is scripted or runs in several threads.
        InputError: The context is entered twice, or two threads capture with it.

    Example:
        >>> from hf_affscore.capture import Capture
        >>> model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        >>> with Watched(model) as watched:
        ...     for _ in range(2):
        ...         with Capture(watched, lambda tensor, site: tuple(tensor.shape)) as seen:
        ...             output = model(torch.ones(3, 4))
        ...         print(seen.calls[0].post)
        (3, 2)
        (3, 2)
    """

    def __init__(self, model: nn.Module, selection: Selection | None = None) -> None:
        self.selection = selection or Selection()
        self.origins = Origins(model)
        self._model = model
        self._watcher: Watcher | None = None
        self._thread = 0  # of the watcher
        self._users: set[int] = set()  # other threads that run the whole model on their own
        self._hooks = ExitStack()
        self._stays = False
        self._state: ModelState | None = None

    def __enter__(self) -> Self:
        if self._stays:
            raise InputError("Expected a model that is not watched yet; enter this context once.")
        self._hooks = self._hooked()
        self._stays = True
        return self

    def __exit__(self, *error: object) -> None:
        self._stays = False
        self._hooks.close()

    @contextmanager
    def by(self, watcher: Watcher) -> Iterator[None]:
        """Report the modules that this thread runs to ``watcher``; hooks are added if there are none."""
        if self._watcher is not None:
            raise InputError(
                "Expected one capture at a time; another thread is capturing. Use a Watched for each thread."
            )
        with nullcontext() if self._stays else self._hooked():
            self._thread = threading.get_ident()  # before the watcher: other threads may be running the model
            self._watcher = watcher
            try:
                yield
            finally:
                self._watcher = None
                self._put_back_tensors()

    @property
    def state(self) -> ModelState:
        """The state of the model when its hooks were added; it is restored after each pass."""
        if self._state is None:
            raise InputError("Expected a model that is being watched; enter this context first.")
        return self._state

    def _put_back_tensors(self) -> None:
        # Hidden from the caller's modes: this is not a computation of the model.
        with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
            self.state.restore_tensors()

    def _put_back(self) -> None:
        state, self._state = self.state, None
        with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
            state.restore()

    def _hooked(self) -> ExitStack:
        """Add hooks to all modules; closing the result removes them and restores the model's state."""
        _refuse_unwatchable(self._model)
        with ExitStack() as undo:
            self._state = ModelState(self._model)
            undo.callback(self._put_back)
            for path, module in self._model.named_modules():
                before, after = self._reporting(self._known(path or ROOT, module))
                undo.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                # Prepended, to see the module's own output; called on errors too, to keep track of nesting.
                undo.callback(module.register_forward_hook(after, prepend=True, always_call=True).remove)
            return undo.pop_all()

    def _known(self, path: str, module: nn.Module) -> WatchedModule:
        self.selection.note_module(module, path)
        activation = self.selection.of_module(module)
        if activation is not None or not self.selection.is_asked_for(module, path):
            return WatchedModule(path, activation)
        return WatchedModule(path, Activation(type(module).__name__, "activation"), as_a_whole=True)

    def _reporting(self, known: WatchedModule) -> tuple[Callable[..., None], Callable[..., None]]:
        """The hooks that run before and after a module.

        Another thread that runs the whole model is a separate user and is not reported. A thread that runs only a
        part of the model during a capture was started by the model; the order of its calls and its functions are
        unknown.
        """

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            watcher, thread = self._watcher, threading.get_ident()
            if watcher is None or thread != self._thread:
                if known.path == ROOT:
                    self._users.add(thread)
                elif watcher is not None and thread not in self._users:
                    watcher.module_elsewhere(known)
                return
            if known.activation is not None and known.activation.role == "gate":
                kwargs = {**kwargs, "dim": module.dim}
            watcher.module_begins(known, args, kwargs)

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            watcher, thread = self._watcher, threading.get_ident()
            if watcher is not None and thread == self._thread:
                watcher.module_ends(output)
            elif known.path == ROOT:
                self._users.discard(thread)

        return before, after


def _refuse_unwatchable(model: nn.Module) -> None:
    """Raise for models whose activations neither hooks nor function modes can observe."""
    for path, module in model.named_modules():
        where = f"{path or ROOT} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"Expected a model that runs in Python; {where} is a TorchScript module, whose activations "
                "cannot be observed. Pass the model as it was before torch.jit.script or torch.jit.trace."
            )
        if any(map(is_lazy, module.parameters(recurse=False))):
            raise ModelError(
                f"Expected a model with weights; {where} has none before its first input. Run the model once, "
                "on a batch of the size that it is meant for, and then pass it."
            )
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ModelError(
                f"Expected a model that runs in one thread; {where} runs copies in "
                f"{len(module.device_ids)} threads at once. Pass the model inside it: `model.module`."
            )
