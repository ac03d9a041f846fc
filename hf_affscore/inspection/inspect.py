"""The dry run before the job: which activations a model has, without its weights.

From a Hub id or a folder only the configuration is read. The model is built on the meta device, where tensors
have shapes and no values, and run once. A model whose path depends on values (detectors that sort their
proposals) cannot run there; it is built on the CPU with random weights instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_affscore.capture import CallSite, Capture, Selection, SkippedCall, by_image, looked_for, pool, windows
from hf_affscore.errors import AffscoreError, InputError, ModelError, NoActivationError, shown_cause
from hf_affscore.inspection.cost import Cost, estimate
from hf_affscore.inspection.plan import BATCH_SIZE, Plan, plan_of
from hf_affscore.models.evaluation import evaluating
from hf_affscore.models.video import as_clips
from hf_affscore.models.vision_forward import PIXELS, image_shape, vision_forward
from hf_affscore.options import Options, Pooling
from hf_affscore.signature import Record
from hf_affscore.verdict import verdict_of_widths

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn

DEFAULT = Options()


@dataclass(frozen=True)
class Inspection:
    """The activation calls of a model.

    Attributes:
        name: Hub id, folder or class.
        model_class: The class that was built, as ``analyze`` would build it.
        pooling: How an activation would become one row per image, which is what ``dim`` is the width of.
        rows: The calls that would be scored, in execution order: ``index``, ``module``, ``activation``,
            ``call``, ``kind``, ``shape`` (of one image, as text), ``channel_axis`` and ``dim`` (the pooled width).
        skipped: The calls that would not, with their ``reason``.
        cost: Expected memory and time.
        device: ``"meta"``, or where the model had to run.
    """

    name: str
    model_class: str
    pooling: Pooling
    rows: tuple[Record, ...]
    skipped: tuple[Record, ...]
    cost: Cost
    device: str

    @property
    def verdict(self) -> tuple[str, ...]:
        """How many scores would be evidence, from the widths alone, and what to do for the others."""
        widths = [row.dim for row in self.rows]
        return verdict_of_widths(widths, self.cost.num_samples, self.pooling) if widths else ()

    def to_dataframe(self) -> pd.DataFrame:
        """Both lists as one table, in the order scored, then skipped; ``reason`` is empty where scored."""
        import pandas as pd

        scored = ({**row, "reason": None} for row in self.rows)
        return pd.DataFrame([*scored, *map(dict, self.skipped)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON-ready document."""
        cost = {**vars(self.cost), "memory_bytes": self.cost.memory_bytes}
        lists = {"rows": [dict(row) for row in self.rows], "skipped": [dict(row) for row in self.skipped]}
        names = {"name": self.name, "model_class": self.model_class, "pooling": self.pooling}
        return {**names, "device": self.device, "cost": cost, "verdict": list(self.verdict), **lists}

    def __repr__(self) -> str:
        counts = f"{len(self.rows)} activations, {len(self.skipped)} not scored"
        return f"Inspection({self.name!r}, {self.model_class}: {counts})"


def inspect(
    model: str | Path | nn.Module | Any,
    *,
    inputs: torch.Tensor | Mapping[str, torch.Tensor] | None = None,
    pooling: Pooling = DEFAULT.pooling,
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
        model: Hub id, local folder, configuration of transformers, or a ``torch.nn.Module``, which is run
            where it is (the meta device will do) and given back unchanged.
        inputs: A batch of pixels, or of inputs by name, where the size that the configuration names does not
            fit; its first dimension is the batch.
        pooling: How an activation becomes one row per image; changes ``dim``.
        include: Score these too, as in :func:`hf_affscore.analyze`.
        exclude: Leave these out.
        num_samples: Images to state the cost for; of ``"all"``, one group.
        loader: What loads the checkpoint, as in :func:`hf_affscore.analyze`.
        revision: Branch, tag or commit of the model.
        trust_remote_code: Run code that comes with the checkpoint.
        token: Access token for the Hub.

    Raises:
        ModelError: The model cannot be found, built or run on images of this size.
        InputError: A pattern matches nothing, or ``model`` is of the wrong kind.

    Example:
        >>> from hf_affscore.assets import DEMO_MODEL
        >>> found = inspect(DEMO_MODEL)
        >>> found.model_class, len(found.rows)
        ('ResNetForImageClassification', 19)
        >>> found.rows[0].module, found.rows[0].shape, found.rows[0].dim
        ('resnet.embedder.embedder.activation', '8 x 16 x 16', 8)
    """
    import torch
    from torch import nn

    options = Options(
        pooling=pooling,
        include=include,
        exclude=exclude,
        num_samples=num_samples,
        revision=revision,
        loader=loader,
        trust_remote_code=trust_remote_code,
        token=token,
    )
    if isinstance(model, nn.Module):
        parameter = next(model.parameters(), torch.empty(0))
        return _run(model, type(model).__name__, _batch(model, inputs, parameter), options)
    plan = plan_of(model, options)
    try:
        return _dry_run(plan, "meta", inputs, options)
    except _NeedsValues:
        return _dry_run(plan, "cpu", inputs, options)


class _NeedsValues(ModelError):
    """A model failed on the meta device."""


def _dry_run(plan: Plan, device: str, inputs: Any, options: Options) -> Inspection:
    """Build on a device, and run there."""
    import torch

    try:
        with torch.device(device), torch.random.fork_rng(devices=[]):
            model = plan.build()
    except AffscoreError:
        raise
    except Exception as error:  # a configuration may hold anything
        raise ModelError(f"{plan.name} does not build a model: {_said(error)}") from shown_cause(error)
    if inputs is None:
        inputs = plan.blank(model)
    return _run(model, plan.name, _batch(model, inputs, torch.empty(0, device=device)), options)


def _batch(model: nn.Module, inputs: Any, like: torch.Tensor) -> dict[str, torch.Tensor]:
    """The inputs asked for, or zeros of the size that the model says it takes; on the model's device."""
    import torch

    if inputs is None:
        shape = image_shape(model)
        if min(shape) < 1:
            raise ModelError(
                f"The model says it takes images of {shape}; expected channels, height and width."
            )
        inputs = torch.zeros(BATCH_SIZE, *shape, device=like.device, dtype=like.dtype)
    named = dict(inputs) if isinstance(inputs, Mapping) else {PIXELS: inputs}
    usable = {
        name: isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.ndim > 0
        and len(value) > 0
        and (like.is_meta or not value.is_meta)
        for name, value in named.items()
    }
    if not named or not all(usable.values()):
        wrong = ", ".join(str(name) for name, fits in usable.items() if not fits)
        raise InputError(
            f"inputs {wrong or '{}'}: expected a batch of pixels, or a dict of tensors by the names that the model "
            "gives them, with an image at least, and with values where the model has weights."
        )
    return {name: value.to(like.device) for name, value in named.items()}


def _said(error: Exception) -> str:
    """The first line of what an error says, with its type where that is all there is."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _run(model: nn.Module, name: str, batch: dict[str, torch.Tensor], options: Options) -> Inspection:
    """One watched forward pass, and what it says about cost."""
    from torch.utils.flop_counter import FlopCounterMode

    batch = as_clips(batch, model, repeat=True)
    size = len(next(iter(batch.values())))
    selection = Selection(options.include, options.exclude)

    def width(tensor: torch.Tensor, site: CallSite) -> int:
        tensor, axis = by_image(tensor, size, site)
        return pool(tensor, options.pooling, size, channel_axis=axis).shape[1]

    side = vision_forward(model)
    device = next(iter(batch.values())).device.type
    try:
        with (
            evaluating(model),
            FlopCounterMode(display=False) as flops,
            Capture(model, width, selection) as seen,
        ):
            side(batch)
    except AffscoreError:
        raise
    except Exception as error:  # a model may raise anything
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items())
        raise (_NeedsValues if device == "meta" else ModelError)(
            f"{type(model).__name__} failed on {shapes}: {_said(error)}. Pass inputs= of a size that fits."
        ) from error
    selection.check_all_matched()
    rows, skipped = _records(seen, size)
    if not rows and not skipped:
        raise NoActivationError(
            f"{type(model).__name__} ran without any activation. Looked for {', '.join(looked_for())}."
        )
    cost = estimate(
        num_samples=options.group_size if options.num_samples == "all" else options.num_samples,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        widths=[row.dim for row in rows],
        largest=max((math.prod(call.shape) // size for call in seen.calls), default=0),
        flops_per_image=flops.get_total_flops() // size,
    )
    return Inspection(name, type(model).__name__, options.pooling, rows, skipped, cost, device)


def _records(seen: Capture[int], batch_size: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The calls that have one row per image and as many features before as after, and the others."""
    rows: list[Record] = []
    uneven: list[SkippedCall] = []
    for call in seen.calls:
        if call.pre != call.post:
            reason = f"its pooled width differs between input and output: {call.pre} and {call.post}"
            uneven.append(SkippedCall(call.site, reason))
            continue
        folded = windows(call.shape, batch_size)
        shape = " x ".join(map(str, (*folded, *call.shape[1:])))
        numbers = {"shape": shape, "channel_axis": call.site.channel_axis + len(folded), "dim": call.pre}
        rows.append(Record(index=len(rows), **_identity(call.site), **numbers))
    skipped = (Record(**_identity(call.site), reason=call.reason) for call in [*seen.skipped, *uneven])
    return tuple(rows), tuple(skipped)


def _identity(site: CallSite) -> dict[str, Any]:
    return {"module": site.module, "activation": site.activation, "call": site.call, "kind": site.kind}
