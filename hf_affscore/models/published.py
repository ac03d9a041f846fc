"""The accuracy that a checkpoint's authors publish, and the data it was measured on.

The Hub keeps results in ``.eval_results/*.yaml`` (https://huggingface.co/docs/hub/eval-results); older checkpoints
have them in the ``model-index`` of their card. Both are read at the analysed commit, and both are optional:
unreadable results are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from hf_affscore.models.repository import Repository

_FOLDER = ".eval_results/"
#: A result in ``.eval_results`` names its benchmark but no metric. These benchmarks measure the accuracy of image
#: classifiers.
_BENCHMARKS = ("imagenet", "cifar", "image-classification", "image_classification", "food101", "mnist")


@dataclass(frozen=True)
class Published:
    """One published accuracy.

    Attributes:
        value: The number as published: a fraction or per cent.
        where: ``dataset``, ``config``, ``split``, ``revision`` and ``task``, if known, and the file that holds the
            result (``source``).
    """

    value: float
    where: dict[str, str]


def published_accuracy(repository: Repository) -> Published | None:
    """The first published accuracy of a checkpoint: in ``.eval_results``, else in its card; None without one."""
    return next(_of_results(repository), None) or next(_of_card(repository), None)


def _of_results(repository: Repository) -> Iterator[Published]:
    names = (
        name for name in repository.files if name.startswith(_FOLDER) and name.endswith((".yaml", ".yml"))
    )
    for name in sorted(names):
        for entry in _entries(repository, name):
            dataset = entry.get("dataset")
            if not isinstance(dataset, dict) or not _is_number(entry.get("value")):
                continue
            known = {
                "dataset": dataset.get("id"),
                "task": dataset.get("task_id"),
                "revision": dataset.get("revision"),
            }
            if any(benchmark in f"{known['dataset']} {known['task']}".lower() for benchmark in _BENCHMARKS):
                yield Published(float(entry["value"]), _texts({**known, "source": name}))


def _entries(repository: Repository, name: str) -> list[dict[str, Any]]:
    """The results in one file; none if it is unreadable."""
    try:
        content = yaml.safe_load(repository.path(name).read_bytes())
    except Exception:  # results are optional, and their parser may raise anything
        return []
    return [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []


def _of_card(repository: Repository) -> Iterator[Published]:
    for result in getattr(repository.card, "eval_results", None) or []:
        if result.metric_type == "accuracy" and _is_number(result.metric_value):
            known = {
                "dataset": result.dataset_type,
                "config": result.dataset_config,
                "split": result.dataset_split,
                "revision": result.dataset_revision,
                "task": result.task_type,
                "source": "model-index",
            }
            yield Published(float(result.metric_value), _texts(known))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(known: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in known.items() if value is not None}
