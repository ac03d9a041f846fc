"""The dry run: list the activations of a model without its weights.

For a Hub id or a folder only the configuration is read. The model is built on the meta device, where tensors have
shapes but no values, and run once. A model whose control flow depends on values (detectors that sort their
proposals) cannot run there; it is built on the CPU with random weights instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hf_affscore.capture import (
    CallSite,
    Capture,
    Watched,
    by_image,
    no_blocks,
    nothing_to_score,
    pool,
    windows,
)
from hf_affscore.capture.below import NOT_OBSERVED
from hf_affscore.capture.blocks import selection_of
from hf_affscore.errors import AffscoreError, InputError, ModelError, NoActivationError, shown_cause
from hf_affscore.inspection.cost import Work, bytes_of, estimate
from hf_affscore.inspection.inputs import batch_for, num_images, runner, said_by, told_as
from hf_affscore.inspection.inspection import Inspection
from hf_affscore.inspection.operations import Operations
from hf_affscore.inspection.plan import Plan, blank_inputs, plan_of
from hf_affscore.models.evaluation import evaluating
from hf_affscore.models.video import as_clips
from hf_affscore.models.vision_forward import GRID, VisionForward
from hf_affscore.options import Level, Options, Pooling
from hf_affscore.signature import Record
from hf_affscore.spelling import checked_keywords

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT = Options()

Inputs: TypeAlias = "torch.Tensor | Mapping[str, torch.Tensor] | None"


@checked_keywords()
def inspect(
    model: str | Path | nn.Module | Any,
    *,
    inputs: Inputs = None,
    processor: Any = None,
    pooling: Pooling = DEFAULT.pooling,
    level: Level = DEFAULT.level,
    include: Sequence[str] = DEFAULT.include,
    exclude: Sequence[str] = DEFAULT.exclude,
    num_samples: int | Literal["all"] = DEFAULT.num_samples,
    loader: str | Callable[..., Any] | None = DEFAULT.loader,
    revision: str | None = DEFAULT.revision,
    trust_remote_code: bool = DEFAULT.trust_remote_code,
    token: str | bool | None = DEFAULT.token,
) -> Inspection:
    """List the activation calls of a model, scored and skipped, without downloading its weights.

    Args:
        model: Hub id, local folder, configuration of transformers, or a ``torch.nn.Module``, which is run on its
            own device (the meta device also works) and left unchanged.
        inputs: A batch of pixels or of named inputs, for when the size in the configuration does not fit; the first
            dimension is the batch. The first input may hold the patches of several images one after the other,
            if the last has one entry per image.
        processor: What preprocesses images, as in :func:`hf_affscore.analyze`; not beside ``inputs``.
        pooling: How an activation becomes one row per image; changes ``dim``.
        level: ``blocks`` lists the blocks of the network and their parts, as in :func:`hf_affscore.analyze`.
        include: Score these too, as in :func:`hf_affscore.analyze`.
        exclude: Leave these out.
        num_samples: Number of images for the cost estimate; for ``"all"``, one group.
        loader: What loads the checkpoint, as in :func:`hf_affscore.analyze`.
        revision: Branch, tag or commit of the model.
        trust_remote_code: Run code that comes with the checkpoint.
        token: Access token for the Hub.

    Raises:
        ModelError: The model cannot be found, built or run on images of this size.
        InputError: A pattern matches nothing, ``model`` is of the wrong kind, or both ``inputs`` and ``processor``
            are given.

    Example:
        >>> from hf_affscore.assets import DEMO_MODEL
        >>> found = inspect(DEMO_MODEL)
        >>> found.model_class, len(found.rows)
        ('ResNetForImageClassification', 19)
        >>> found.rows[0].module, found.rows[0].shape, found.rows[0].dim
        ('resnet.embedder.embedder.activation', '8 x 16 x 16', 8)
    """
    from torch import nn

    options = Options(
        pooling=pooling,
        level=level,
        include=include,
        exclude=exclude,
        num_samples=num_samples,
        revision=revision,
        loader=loader,
        trust_remote_code=trust_remote_code,
        token=token,
    )
    if inputs is not None and processor is not None:
        raise InputError("Expected inputs or a processor, which makes them; received both. Leave one out.")
    if isinstance(model, nn.Module):
        if processor is not None:
            inputs = blank_inputs(processor, model, options)
        return _run(model, type(model).__name__, inputs, options)
    plan = plan_of(model, options, processor)
    try:
        return _dry_run(plan, "meta", inputs, options)
    except _NeedsValues:
        return _dry_run(plan, "cpu", inputs, options)


class _NeedsValues(ModelError):
    """A model failed on the meta device."""


def _dry_run(plan: Plan, device: str, inputs: Inputs, options: Options) -> Inspection:
    """Build the model on a device and run it there."""
    import torch

    sentence = f"{plan.name} does not build a model: {{said}}. Check the values of its configuration."
    with told_as(sentence), torch.device(device), torch.random.fork_rng(devices=[]):
        built = plan.build()
    return _run(built.module, plan.name, plan.blank(built) if inputs is None else inputs, options)


def _run(model: nn.Module, name: str, inputs: Inputs, options: Options) -> Inspection:
    """One captured forward pass, and the cost that follows from it."""
    with told_as(
        f"{type(model).__name__} cannot be inspected: {{said}}. Expected a model that runs on images."
    ):
        batch = as_clips(batch_for(model, inputs), model, repeat=True)
        if GRID in batch:  # images that run one by one
            batch = {name: value[:1] for name, value in batch.items()}
        size = num_images(batch)
        seen, operations = _watched(model, batch, options, by_name=isinstance(inputs, Mapping))
        rows, skipped = _records(seen, size)
        if not rows and not skipped:
            name_of_class = type(model).__name__
            found_none = (
                no_blocks(name_of_class) if options.level == "blocks" else nothing_to_score(name_of_class, ())
            )
            raise NoActivationError(found_none)
        cost = estimate(
            options,
            widths=[max(row.dim, row.get("dim_out", 0)) for row in rows],
            weights_bytes=bytes_of(model.parameters()),
            input_bytes=bytes_of(batch.values()) // size,
            work=None if operations is None else Work.of(operations, size),
        )
    device = next(iter(batch.values())).device.type
    return Inspection(name, type(model).__name__, options.pooling, rows, skipped, cost, device)


def _watched(
    model: nn.Module, batch: dict[str, torch.Tensor], options: Options, *, by_name: bool
) -> tuple[Capture[int], Operations | None]:
    """The captured calls and the counts of one forward pass; no counts if the model only runs without counting."""
    size = num_images(batch)

    def width(tensor: torch.Tensor, site: CallSite) -> int:
        tensor, axis = by_image(tensor, size, site)
        rows = pool(tensor, options.pooling, size, channel_axis=axis)
        if not rows.is_meta:
            rows.cpu().numpy()  # tensors of other classes may refuse, and are then skipped, as in an analysis
        return rows.shape[1]

    side = runner(model, batch, by_name=by_name)
    failure: Exception | None = None
    for operations, below in ((Operations(), True), (None, True), (None, False)):
        selection = selection_of(model, options.level, options.include, options.exclude)
        try:
            with evaluating(model), Watched(model, selection) as watched:
                seen = Capture(watched, width, one_image=GRID in batch, below=below)
                with operations or nullcontext(), seen:
                    _run_copies(side, batch)
                if watched.origins.in_doubt:  # a second pass tells constants from results
                    seen = Capture(watched, width, one_image=GRID in batch)
                    with seen:
                        _run_copies(side, batch)
        except AffscoreError:
            raise
        except Exception as error:  # a model may raise anything
            failure = error
            continue
        selection.check_all_matched()
        seen.skipped += () if below else (NOT_OBSERVED,)
        return seen, operations
    shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items())
    # Some models create a parameter on the CPU whatever the device is, so inputs do not tell.
    on_meta = any(value.is_meta for value in (*batch.values(), *model.parameters()))
    raise (_NeedsValues if on_meta else ModelError)(
        f"{type(model).__name__} failed on {shapes}: {said_by(failure)}. Pass inputs= of a size that fits."
    ) from (failure and shown_cause(failure))


def _run_copies(side: VisionForward, batch: dict[str, torch.Tensor]) -> None:
    """Run copies of the inputs, which the model may overwrite."""
    side({name: value.clone() for name, value in batch.items()})


def _records(seen: Capture[int], batch_size: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The calls with one row per image, and the skipped calls."""
    rows: list[Record] = []
    for call in seen.calls:
        folded = windows(call.shape, batch_size)
        shape = " x ".join(map(str, (*folded, *call.shape[1:])))
        numbers = {"shape": shape, "channel_axis": call.site.channel_axis + len(folded), "dim": call.pre}
        block = {} if call.site.part is None else {"part": call.site.part, "dim_out": call.post}
        rows.append(Record(index=len(rows), **_identity(call.site), **numbers, **block))
    skipped = (Record(**_identity(call.site), reason=call.reason) for call in seen.skipped)
    return tuple(rows), tuple(skipped)


def _identity(site: CallSite) -> dict[str, Any]:
    return {"module": site.module, "activation": site.activation, "call": site.call, "kind": site.kind}
