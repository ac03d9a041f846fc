"""Many models on one set of images: one that fails does not stop the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from hf_affscore.errors import AffscoreError, InputError, redacted
from hf_affscore.options import AnalysisOptions, Options
from hf_affscore.publish.reuse import PublishedSignatures
from hf_affscore.run.runner import located_images, run
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Outcome:
    """The result for one of many models: its signature, or the error."""

    model: str
    signature: Signature | None
    error: str | None = None


@checked_keywords(AnalysisOptions.__annotations__)
def analyze_many(
    models: Iterable[str | Path | nn.Module],
    dataset: str | Path | Iterable[Any],
    *,
    processor: Any = None,
    **options: Unpack[AnalysisOptions],
) -> list[Outcome]:
    """Analyse models one after the other; a model that fails does not stop the others.

    Args:
        models: Any number of models, each as in :func:`analyze`.
        dataset: The images for all models; it must allow more than one iteration.
        processor: The image processor for every model, as in :func:`analyze`; default: each checkpoint's own.
        **options: The other keywords of :func:`analyze`, the same for every model; the rows of each go into a
            folder of its own below ``keep_rows``, which has the last part of its name (``resnet-18``).

    Returns:
        One outcome per model, in order.

    Raises:
        InputError: An option is out of range, ``models`` is a single model, or ``dataset`` can be iterated over
            only once.
        TypeError: An option is misspelt.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> done, failed = analyze_many([DEMO_MODEL, "no/such/model"], DEMO_DATASET, num_samples=32)
        >>> len(done.signature.rows), failed.error.split(":")[0]
        (19, "Model 'no/such/model' is neither a local folder nor a Hub id (expected 'user/name'). Check the path.")
    """
    if isinstance(models, str | Path) or not isinstance(models, Iterable) or hasattr(models, "forward"):
        raise InputError(f"models is {str(models)[:100]!r}; expected a list of models. Put it in brackets.")
    if isinstance(dataset, Iterator):
        raise InputError(
            f"dataset is a {type(dataset).__name__}, which ends after one model; expected images that can be "
            "iterated over for each model. Pass a list of them."
        )
    asked = Options(**options)
    published = PublishedSignatures(asked.reuse, asked.token) if asked.reuse is not None else None
    try:
        images = located_images(dataset, asked)  # once for all models
    except AffscoreError as error:
        return [Outcome(_name_of(model), None, str(error)) for model in models]
    outcomes, folders = [], set[str]()
    for model in models:
        name = _name_of(model)
        options_of = asked
        if asked.keep_rows is not None:
            options_of = replace(asked, keep_rows=Path(asked.keep_rows) / _folder_of(name, folders))
        try:
            outcomes.append(Outcome(name, run(model, images, processor, options_of, published)))
        except AffscoreError as error:
            outcomes.append(Outcome(name, None, str(error)))
        except Exception as error:  # a checkpoint may bring its own code
            said = redacted(f"{type(error).__name__}: {error}")
            reason = f"{said}. Not an error of this package; analyse it alone to see more."
            outcomes.append(Outcome(name, None, reason))
    return outcomes


def _folder_of(name: str, taken: set[str]) -> str:
    """The folder of a model's rows, another one for every model; added to those that are ``taken``.

    Example:
        >>> taken = set()
        >>> [_folder_of(name, taken) for name in ("microsoft/resnet-18@main", "ResNet", "mine/ResNet", "../")]
        ['resnet-18-main', 'ResNet', 'ResNet-2', 'model']
    """
    plain = re.sub(r"[^\w.-]+", "-", re.split(r"[/\\]", name.rstrip("/\\"))[-1]).strip(".-") or "model"
    names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    name = next(name for name in names if name.casefold() not in taken)  # some disks tell no case apart
    taken.add(name.casefold())
    return name


def _name_of(model: str | Path | nn.Module) -> str:
    return str(model) if isinstance(model, str | Path) else type(model).__name__
