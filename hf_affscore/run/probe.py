"""What a model does on a few images, before many run through it: three questions that one batch cannot answer.

- Does it give one answer? One batch runs twice. Dropout that was left on, or sampling inside the model, gives two.
- Does an image's answer depend on the others of its batch? Two images run, and run again with a third.
  Normalisation by statistics of the batch makes them depend.
- Is a first axis that is as long as the batch the batch? It is where it follows the number of images.

Rows are compared within ``sqrt(eps)`` of the coarsest number format of the weights, 3e-4 for float32, relative to
the length of the rows: another batch size, or another order of sums on a GPU, stays far below that.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hf_affscore.capture import Capture
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summary
from hf_affscore.errors import AffscoreWarning, ModelError

if TYPE_CHECKING:
    from torch import nn

#: Passes over one batch where the model has drawn random numbers, which need not matter every time.
REPEATS = 5

#: Runs these images of a batch, by number, and tells the calls.
Run: TypeAlias = Callable[[Sequence[int]], "Capture[Summary]"]


@dataclass(frozen=True)
class Behaviour:
    """What was found out about a model.

    Attributes:
        deterministic: Whether one batch gives one answer.
        batch_dependent: Whether an image's answer depends on the other images of its batch, or the model runs on
            batches of some sizes only.
        not_by_image: Calls that are skipped with few images, with the reason. Where a whole batch seems to give
            rows, the first axis is as long as the batch by chance.
    """

    deterministic: bool = True
    batch_dependent: bool = False
    not_by_image: Mapping[CallSite, str] = field(default_factory=dict)


def probe(run: Run, num_images: int, model: nn.Module) -> Behaviour:
    """Run a model on a few of the images of a batch, and compare.

    Args:
        run: Makes one forward pass.
        num_images: Images of the batch.
        model: The model, for its number format and device.
    """
    few = [0, min(1, num_images - 1)]
    other = {1: [0, 0, 0], 2: [0]}.get(num_images, [0, 1, 2])
    before = _generators(model)
    try:
        first = run(few)
        drew = _generators(model) != before
        second = run(other)
        tolerance = _tolerance(model)
        shared = min(len(few), len(other))
        depends = _differ(first, second, shared, tolerance)
        repeats = REPEATS if drew else 1 if depends else 0
        answers = [run(few) for _ in range(repeats)]
    except ModelError:  # the batch itself will say whether the model runs at all
        return Behaviour(batch_dependent=True)
    # A difference that random numbers made is one, however small.
    varies = any(_differ(first, again, len(few), 0.0 if drew else tolerance) for again in answers)
    return Behaviour(not varies, depends and not varies, _not_by_image(first, second))


def warn_of_behaviour(model: Mapping[str, Any], batch_size: int) -> None:
    """Say what makes the scores of a model other than scores usually are; also of those from the cache.

    Args:
        model: Of the metadata of a signature.
        batch_size: Images per forward pass.
    """
    name = model.get("class", "The model")
    if not model.get("deterministic", True):
        warnings.warn(
            f"{name} gives two answers to one batch: it draws random numbers, or changes, while it runs. The "
            "scores are of one such draw, and are not kept in the cache. Look for dropout or sampling that is on "
            "in evaluation mode.",
            AffscoreWarning,
            stacklevel=3,
        )
    if model.get("batch_dependent", False):
        warnings.warn(
            f"{name} treats an image differently in another batch, as normalisation by statistics of the batch "
            f"does. The scores hold for batches of {batch_size} images; compare them with others of the same "
            "batch_size.",
            AffscoreWarning,
            stacklevel=3,
        )


def _differ(one: Capture[Summary], other: Capture[Summary], images: int, tolerance: float) -> bool:
    """Whether the first rows of any call that both have differ by more than rounding."""
    rows = {call.site: (call.pre.rows, call.post.rows) for call in one.calls}
    return any(
        _distance(mine[:images], theirs[:images]) > tolerance
        for call in other.calls
        for mine, theirs in zip(rows.get(call.site, ()), (call.pre.rows, call.post.rows), strict=False)
        if mine.shape[1:] == theirs.shape[1:]
    )


def _distance(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """The length of the difference in units of the longer one; undefined entries of both agree."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return 0.0
    one, other = (np.where(same, 0.0, rows.astype(np.float64)) for rows in (one, other))
    scale = max(np.linalg.norm(one), np.linalg.norm(other))
    distance = float(np.linalg.norm(one - other) / scale)
    return distance if np.isfinite(distance) else np.inf


def _not_by_image(one: Capture[Summary], other: Capture[Summary]) -> dict[CallSite, str]:
    """Calls that have no row per image with one number of images or the other."""
    return {skip.site: skip.reason for seen in (one, other) for skip in seen.skipped}


def _tolerance(model: nn.Module) -> float:
    import torch

    formats = {p.dtype for p in model.parameters() if p.dtype.is_floating_point} or {torch.float32}
    return float(max(torch.finfo(dtype).eps for dtype in formats) ** 0.5)


def _generators(model: nn.Module) -> list[Any]:
    """Where the random numbers of Python, numpy and torch stand, on the devices of a model too."""
    import torch

    devices = sorted({str(p.device) for p in model.parameters() if p.is_cuda})
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
    arrays: Any = np.random.get_state()
    return [
        random.getstate(),
        (arrays[1].tobytes(), *arrays[2:]),
        *(state.numpy().tobytes() for state in states),
    ]
