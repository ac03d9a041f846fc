"""``evaluate.load("affinity_signature")`` in a process that has imported hf_affscore, without the Hub.

evaluate knows no plugins: a bare name is a folder here, then a Space of the organisation ``evaluate-metric``,
then a file in a cache. So :func:`answer` makes its look-up function take this one name as the folder of the
metric in this package; every other name, and a folder of that name in the working directory, go the way they
always went.

evaluate takes seconds to import and is not imported for this. Where it is imported already it is told at
once; otherwise an import hook waits for it, and leaves ``sys.meta_path`` as soon as it has come. That is all
that ``import hf_affscore`` does. The other ways would do more: copying the metric into evaluate's cache writes
into a person's home, outlives the process, and still asks the Hub before each load; importing evaluate costs
everybody seconds; a ``.pth`` file would act in processes that never import this package. Who wants the copy
asks for it: ``hf-affscore metric install``.
"""

from __future__ import annotations

import functools
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from hf_affscore.metrics import FOLDER, NAME

_LOOK_UP_MODULE = "evaluate.loading"


def register() -> None:
    """Let evaluate find the metric by its name, now or when it is imported."""
    loading = sys.modules.get(_LOOK_UP_MODULE)
    if loading is None:
        sys.meta_path.insert(0, _UntilImported())
    else:
        answer(loading)


class _UntilImported:
    """An import hook for one module: it is found as always, and answered for as soon as it has run."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == _LOOK_UP_MODULE else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_answer(module: ModuleType) -> None:
                run(module)
                sys.meta_path.remove(self)
                answer(module)

            spec.loader.exec_module = run_and_answer  # type: ignore[method-assign]
        return spec


def answer(loading: ModuleType) -> None:
    """Make ``evaluate.loading`` take the name of the metric as its folder in this package."""
    look_up = loading.evaluation_module_factory

    @functools.wraps(look_up)
    def evaluation_module_factory(
        path: str, module_type: str | None = None, revision: Any = None, **settings: Any
    ) -> Any:
        asked = path == NAME and module_type in (None, "metric") and revision is None
        if asked and not Path(NAME, f"{NAME}.py").is_file():
            path = str(FOLDER)
        return look_up(path, module_type, revision, **settings)

    loading.evaluation_module_factory = evaluation_module_factory  # type: ignore[attr-defined]
