"""Many models on one set of images: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.options import Options
from hf_affscore.run.runner import run
from hf_affscore.signature import Signature

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Outcome:
    """What became of one of many models: its signature, or the reason why there is none."""

    model: str
    signature: Signature | None
    error: str | None = None


def analyze_many(
    models: Iterable[str | Path | nn.Module], dataset: str | Path | Iterable[Any], **options: Any
) -> list[Outcome]:
    """One signature after the other; a model that fails does not stop the others.

    Args:
        models: What :func:`analyze` takes, in any number.
        dataset: The images of all of them.
        **options: The keywords of :func:`analyze`, the same for every model.

    Returns:
        One outcome per model, in order.

    Raises:
        InputError: An option is out of range, or ``models`` is a single model.
        TypeError: An option is misspelt.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> done, failed = analyze_many([DEMO_MODEL, "no/such/model"], DEMO_DATASET, num_samples=32)
        >>> len(done.signature.rows), failed.error.split(":")[0]
        (19, "Model 'no/such/model' is neither a local folder nor a Hub id (expected 'user/name'). Check the path.")
    """
    if isinstance(models, str | Path) or not isinstance(models, Iterable) or hasattr(models, "forward"):
        raise InputError(f"models is {str(models)[:100]!r}; expected a list of models. Put it into brackets.")
    processor = options.pop("processor", None)
    asked = Options(**options)
    outcomes = []
    for model in models:
        name = str(model) if isinstance(model, str | Path) else type(model).__name__
        try:
            outcomes.append(Outcome(name, run(model, dataset, processor, asked)))
        except AffscoreError as error:
            outcomes.append(Outcome(name, None, str(error)))
        except Exception as error:  # a checkpoint may come with anybody's code
            reason = f"{type(error).__name__}: {error}. Nobody expected that; analyse it alone to see more."
            outcomes.append(Outcome(name, None, reason))
    return outcomes
