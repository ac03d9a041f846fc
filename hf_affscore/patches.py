"""Patches of other libraries, each with the reason why it is necessary.

A patch can go when its library gains a supported way; each docstring names the version for which it was written.
Nothing here imports a library before it is used.

One more patch is elsewhere: :mod:`hf_affscore.images.parquet` gives a reader of ``datasets`` another class.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import Trainer


def evaluate_finds(name: str, folder: Path) -> None:
    """Let ``evaluate.load(name)`` find the metric in ``folder``, now or when evaluate is imported.

    evaluate 0.4.6 has no plugins: its look-up function takes a bare name as a folder in the working directory, then
    as a Space of the organisation ``evaluate-metric``, then as a file in a cache. Its replacement differs for this
    name only; a folder of that name in the working directory still comes first.
    """
    when_imported("evaluate.loading", functools.partial(_find_metric, name=name, folder=folder))


def _find_metric(loading: ModuleType, *, name: str, folder: Path) -> None:
    look_up = loading.evaluation_module_factory

    @functools.wraps(look_up)
    def evaluation_module_factory(
        path: str, module_type: str | None = None, revision: Any = None, **settings: Any
    ) -> Any:
        asked = path == name and module_type in (None, "metric") and revision is None
        if asked and not Path(name, f"{name}.py").is_file():
            path = str(folder)
        return look_up(path, module_type, revision, **settings)

    loading.evaluation_module_factory = evaluation_module_factory  # type: ignore[attr-defined]


def when_imported(name: str, act: Callable[[ModuleType], None]) -> None:
    """Call ``act`` with the module ``name``: at once if it is already imported, else right after its import.

    Python 3.11 to 3.14 have no event for this. A finder on ``sys.meta_path`` waits for the import, then removes
    itself.
    """
    module = sys.modules.get(name)
    if module is None:
        sys.meta_path.insert(0, _UntilImported(name, act))
    else:
        act(module)


class _UntilImported:
    """A finder for one module, which is found as usual; ``act`` is called right after it has run."""

    def __init__(self, awaited: str, act: Callable[[ModuleType], None]) -> None:
        self._awaited = awaited
        self._act = act

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == self._awaited else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_act(module: ModuleType) -> None:
                run(module)
                sys.meta_path.remove(self)
                self._act(module)

            spec.loader.exec_module = run_and_act  # type: ignore[method-assign]
        return spec


@contextmanager
def original_forward(module: nn.Module) -> Iterator[None]:
    """Restore the network's own ``forward`` for a while, so that it runs in the precision of its weights.

    With mixed precision, ``Accelerator.prepare`` of accelerate 1.15 replaces ``forward`` on the instance by a
    function that opens an autocast region, and keeps the original as ``_original_forward``. Disabling autocast
    outside has no effect inside that region, and ``extract_model_from_parallel`` removes the function permanently.
    """
    attributes: dict[str, Any] = vars(module)
    forward, original = attributes.get("forward"), attributes.get("_original_forward")
    if forward is None or original is None:
        yield
        return
    attributes["forward"] = original
    try:
        yield
    finally:
        attributes["forward"] = forward


def calling_trainer() -> Trainer | None:
    """The Trainer that is calling one of its callbacks, or None.

    ``CallbackHandler`` of transformers 5.23 passes callbacks the model, the optimizer and more, but not the
    Trainer, and only the Trainer can log. It is found as the ``self`` of a function further up the stack.
    """
    from transformers import Trainer

    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    return None
