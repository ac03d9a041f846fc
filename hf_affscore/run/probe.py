"""Tests a model on a few images before the analysis: three questions that one batch cannot answer.

- Is the model deterministic? One batch runs twice. Dropout that was left on, or sampling inside the model, gives
  different outputs.
- Does an image's output depend on the other images of its batch? Two images run, and run again with a third.
  Normalisation by batch statistics makes outputs depend on the batch.
- Is a first axis with the length of the batch the batch axis? It is if its length follows the number of images.

Rows are compared within ``sqrt(eps)`` of the coarsest number format of the weights, 3e-4 for float32, relative to
the norm of the rows. Differences from the batch size or from the order of sums on a GPU stay far below that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hf_affscore.capture import Capture
from hf_affscore.capture.below import FROM_NUMBERS
from hf_affscore.capture.sites import CallSite, SkippedCall
from hf_affscore.capture.summary import Summary
from hf_affscore.errors import ModelError, warn

if TYPE_CHECKING:
    from torch import nn

#: Passes over one batch if the model has drawn random numbers, which need not affect every pass.
REPEATS = 5

#: Runs the images of a batch with the given numbers, and returns the captured calls.
Run: TypeAlias = Callable[[Sequence[int]], "Capture[Summary]"]


@dataclass(frozen=True)
class Behaviour:
    """The behaviour of a model.

    Attributes:
        deterministic: Whether repeated runs on one batch give equal outputs.
        batch_dependent: Whether an image's output depends on the other images of its batch, or the model runs only
            on batches of some sizes.
        not_by_image: Calls that are skipped with few images, with the reason. If a whole batch seems to give one
            row per image, the first axis has the length of the batch by chance.
        unseen: What runs out of sight (:mod:`hf_affscore.capture.below`); None if the passes failed, so that the
            analysis has to look for it in every pass.
    """

    deterministic: bool = True
    batch_dependent: bool = False
    not_by_image: Mapping[CallSite, str] = field(default_factory=dict)
    unseen: tuple[SkippedCall, ...] | None = None


def probe(run: Run, num_images: int, model: nn.Module, *, alone: bool = False) -> Behaviour:
    """Run a model on a few images of a batch in several ways, and compare its outputs.

    Args:
        run: Makes one forward pass.
        num_images: Images of the batch.
        model: The model, for its number format and device.
        alone: Whether images run one by one, so that none can depend on another.
    """
    few = [0] if alone else [0, min(1, num_images - 1)]
    other = few if alone else {1: [0, 0, 0], 2: [0]}.get(num_images, [0, 1, 2])
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
    except ModelError:  # whether the model runs at all shows with the whole batch
        return Behaviour(batch_dependent=True)
    # After random draws any difference counts, however small.
    varies = any(_differ(first, again, len(few), 0.0 if drew else tolerance) for again in answers)
    return Behaviour(not varies, depends and not varies, _not_by_image(first, second), _unseen(first, second))


def warn_of_behaviour(model: Mapping[str, Any], batch_size: int | None) -> None:
    """Warn of a model that is not deterministic or depends on the batch; also for scores from the cache.

    Args:
        model: The entry ``model`` of a signature's metadata.
        batch_size: Images per forward pass.
    """
    name = model.get("class", "The model")
    if not model.get("deterministic", True):
        warn(
            f"{name} gives different outputs for the same batch: it draws random numbers, or changes, while it "
            "runs. The scores are from one such run, and are not kept in the cache. Look for dropout or sampling "
            "that is on in evaluation mode."
        )
    if model.get("batch_dependent", False):
        warn(
            f"{name} gives an image a different output in another batch, as normalisation by batch statistics "
            f"does. The scores hold for batches of {batch_size} images; compare them only with scores of the same "
            "batch_size."
        )


def _differ(one: Capture[Summary], other: Capture[Summary], images: int, tolerance: float) -> bool:
    """Whether the first ``images`` rows of any call in both captures differ by more than the tolerance."""
    rows = {call.site: (call.pre.rows, call.post.rows) for call in one.calls}
    return any(
        _distance(mine[:images], theirs[:images]) > tolerance
        for call in other.calls
        for mine, theirs in zip(rows.get(call.site, ()), (call.pre.rows, call.post.rows), strict=False)
        if mine.shape[1:] == theirs.shape[1:]
    )


def _distance(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    """The norm of the difference relative to the larger norm; entries that are nan in both count as equal."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return 0.0
    one, other = (np.where(same, 0.0, rows.astype(np.float64)) for rows in (one, other))
    scale = max(np.linalg.norm(one), np.linalg.norm(other))
    distance = float(np.linalg.norm(one - other) / scale)
    return distance if np.isfinite(distance) else np.inf


def _not_by_image(one: Capture[Summary], other: Capture[Summary]) -> dict[CallSite, str]:
    """Calls that have no row per image in at least one of two captures with different numbers of images."""
    return {skip.site: skip.reason for seen in (one, other) for skip in seen.skipped}


def _unseen(one: Capture[Summary], other: Capture[Summary]) -> tuple[SkippedCall, ...]:
    """What the second capture noticed below Python, which knows the constants that the first has met.

    Numbers that became a tensor with a row per image may do so by chance; in both captures they do not.
    """
    before = {skip.site for skip in one.skipped}
    return tuple(
        skip
        for skip in other.skipped
        if skip.site.kind == "operator" and (skip.reason != FROM_NUMBERS or skip.site in before)
    )


def _tolerance(model: nn.Module) -> float:
    import torch

    formats = {p.dtype for p in model.parameters() if p.dtype.is_floating_point} or {torch.float32}
    return float(max(torch.finfo(dtype).eps for dtype in formats) ** 0.5)


def _generators(model: nn.Module) -> list[Any]:
    """States of the random number generators of Python, numpy and torch, including the model's devices."""
    import torch

    devices = sorted({str(p.device) for p in model.parameters() if p.is_cuda})
    states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]
    arrays: Any = np.random.get_state()
    return [
        random.getstate(),
        (arrays[1].tobytes(), *arrays[2:]),
        *(state.numpy().tobytes() for state in states),
    ]
