"""One model, one set of images, one signature.

Images stream through the model in batches; of every activation only the pooled rows are kept; when all images
are through, every site is scored. Memory grows with the number of samples and the width of the layers, not
with the length of the data set or the size of the images.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import platform
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore import __version__
from hf_affscore.capture import Call, Capture, Selection, SkippedCall, looked_for
from hf_affscore.capture.features import Features
from hf_affscore.capture.summary import Summarize, Summary
from hf_affscore.errors import AffscoreError, AffscoreWarning, DatasetError, ModelError, NoActivationError
from hf_affscore.options import DType, Options, Pooling
from hf_affscore.run.images import ImageStream, Undecodable, open_images
from hf_affscore.run.loading import Checkpoint, load_checkpoint
from hf_affscore.run.progress import bar, library_bars
from hf_affscore.score import score_layer
from hf_affscore.signature import NUMBERS_VERSION, Record, Signature

if TYPE_CHECKING:
    from torch import nn

DEFAULT = Options()
DEFAULT_BATCH_SIZE = 16
_LIBRARIES = ("torch", "transformers", "timm", "datasets", "accelerate", "numpy", "scipy")


def analyze(
    model: str | Path | nn.Module,
    dataset: str | Path | Iterable[Any],
    *,
    processor: Any = None,
    split: str | None = DEFAULT.split,
    dataset_config: str | None = DEFAULT.dataset_config,
    image_column: str | None = DEFAULT.image_column,
    num_samples: int = DEFAULT.num_samples,
    batch_size: int | None = DEFAULT.batch_size,
    shuffle: bool = DEFAULT.shuffle,
    seed: int = DEFAULT.seed,
    pooling: Pooling = DEFAULT.pooling,
    include: Sequence[str] = DEFAULT.include,
    exclude: Sequence[str] = DEFAULT.exclude,
    sparsity_samples: int = DEFAULT.sparsity_samples,
    shrinkage: bool = DEFAULT.shrinkage,
    regularization: float = DEFAULT.regularization,
    dtype: DType = DEFAULT.dtype,
    device: str | None = DEFAULT.device,
    revision: str | None = DEFAULT.revision,
    dataset_revision: str | None = DEFAULT.dataset_revision,
    trust_remote_code: bool = DEFAULT.trust_remote_code,
    token: str | bool | None = DEFAULT.token,
    progress: bool = DEFAULT.progress,
) -> Signature:
    """The non-linearity signature of a vision network.

    Args:
        model: Hub id, local folder, or a ``torch.nn.Module`` (used where it is and as it is; it is run in
            evaluation mode and given back unchanged).
        dataset: Hub id, local folder, ``datasets.Dataset`` or ``IterableDataset``, an iterable of PIL images
            or of ready ``(3, H, W)`` tensors, or ``"noise"`` for standard normal pixels.
        processor: An image processor of transformers, or a function from a PIL image to a ``(3, H, W)``
            tensor; default: the checkpoint's own.
        split: Split of the data set; default: its test or validation split.
        dataset_config: Configuration of the data set.
        image_column: Column that holds the images, where there are several.
        num_samples: Images to use.
        batch_size: Images per forward pass; default: 16. It changes scores by float32 rounding only.
        shuffle: Draw the images at random instead of taking the first.
        seed: Seed of the draw, and of noise.
        pooling: How an activation becomes one row per image: ``paper``, ``channels``, ``positions`` (also
            called ``tokens``) or ``none``; :mod:`hf_affscore.capture.pooling` explains them.
        include: Score these too: names of activations that are left out by default (``softmax``), of module
            classes (``LayerNorm``), or paths of modules (``layer1.0``), with wildcards.
        exclude: Leave these out, named in the same way.
        sparsity_samples: Images to measure sparsity on, drawn at random.
        shrinkage: Add the score with Ledoit-Wolf covariances.
        regularization: Ridge added to both covariances.
        dtype: Number format of the weights of a loaded checkpoint.
        device: Device of a loaded checkpoint; default: a GPU if there is one.
        revision: Branch, tag or commit of the model.
        dataset_revision: Branch, tag or commit of the data set.
        trust_remote_code: Run code that comes with the checkpoint.
        token: Access token for the Hub.
        progress: Show progress on stderr, where it is a terminal.

    Returns:
        The signature: one row per activation call in execution order.

    Raises:
        ModelError: The model cannot be found, loaded or run, or has no activation that can be scored.
        DatasetError: The images cannot be found or read, or there are fewer than two.
        InputError: An option is out of range, or an input is of the wrong kind.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> sig = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
        >>> sig.rows[0].activation, sig.rows[0].num_samples
        ('ReLU', 32)
    """
    options = Options(
        split=split,
        dataset_config=dataset_config,
        image_column=image_column,
        num_samples=num_samples,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        pooling=pooling,
        include=include,
        exclude=exclude,
        sparsity_samples=sparsity_samples,
        shrinkage=shrinkage,
        regularization=regularization,
        dtype=dtype,
        device=device,
        revision=revision,
        dataset_revision=dataset_revision,
        trust_remote_code=trust_remote_code,
        token=token,
        progress=progress,
    )
    with library_bars(enabled=options.progress):
        checkpoint = load_checkpoint(model, processor, options)
        stream = open_images(dataset, options, checkpoint.input_shape)
        collected = collect(checkpoint, stream, options)
    rows, unusable = _score(collected, options)
    skipped = [*map(_skipped_record, collected.skipped), *unusable]
    if not rows:
        raise NoActivationError(_nothing_found(checkpoint, skipped))
    return Signature(tuple(rows), tuple(skipped), _metadata(checkpoint, stream, collected, options))


@dataclass
class Collected:
    """What the images left behind: pooled rows, calls that were passed over, and images that were not read."""

    features: Features = field(default_factory=Features)
    skipped: list[SkippedCall] = field(default_factory=list)
    num_samples: int = 0
    undecodable: list[str] = field(default_factory=list)


def collect(checkpoint: Checkpoint, stream: ImageStream, options: Options) -> Collected:
    """Run the images through the model, one batch at a time, and keep the pooled rows.

    Raises:
        DatasetError: There are fewer than two images.
        ModelError: The model fails on a batch.
    """
    collected = Collected()
    watch = _Watch(options)
    progress = bar(options.num_samples, "Images", "image", enabled=options.progress)
    with progress, _evaluating(checkpoint.module):
        for number, batch in enumerate(_batches(stream, collected.undecodable, options)):
            images = list(batch.values())
            watch.summarize.start(list(batch))
            calls, collected.skipped = _forward(checkpoint, images, watch)
            collected.features.add(number, calls)
            collected.num_samples += len(images)
            progress.update(len(images))
    _report_missing(collected, options)
    watch.selection.check_all_matched()
    return collected


def _batches(stream: ImageStream, undecodable: list[str], options: Options) -> Iterator[dict[int, Any]]:
    """Batches of decoded images, by position in the stream, until there are ``num_samples``, or no more.

    Batches are cut from the stream by position, before anything is decoded: an image that cannot be decoded
    leaves its batch smaller and moves no other image to another batch.
    """
    items = iter(stream.items)
    position = itertools.count()
    wanted = options.num_samples
    while wanted > 0:
        size = min(options.batch_size or DEFAULT_BATCH_SIZE, wanted)
        batch = list(itertools.islice(items, size))
        if not batch:
            return
        images = {}
        for item in batch:
            number = next(position)
            try:
                images[number] = stream.decode(item)
            except Undecodable as error:
                undecodable.append(f"image {number}: {error}")
        wanted -= len(images)
        if images:
            yield images


class _Watch:
    """What stays the same from batch to batch: which calls are scored, and what is kept of them."""

    def __init__(self, options: Options) -> None:
        self.selection = Selection(options.include, options.exclude)
        self.summarize = Summarize(
            options.pooling,
            num_samples=options.num_samples,
            sparsity_samples=options.sparsity_samples,
            seed=options.seed,
        )


def _forward(
    checkpoint: Checkpoint, images: list[Any], watch: _Watch
) -> tuple[list[Call[Summary]], list[SkippedCall]]:
    """One forward pass: the calls it made with their summaries, and the calls passed over."""
    inputs = checkpoint.inputs(images)
    try:
        with Capture(checkpoint.module, watch.summarize, watch.selection) as seen:
            checkpoint.forward(inputs)
    except AffscoreError:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
        raise ModelError(
            f"{checkpoint.metadata['class']} failed on a batch with {shapes}: {error}. "
            "Expected a model that takes images alone; check the size of the images and the processor."
        ) from error
    return seen.calls, seen.skipped


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module gets its own training flag back."""
    import torch

    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part in training:
            part.training = True


def _report_missing(collected: Collected, options: Options) -> None:
    lost = len(collected.undecodable)
    unread = f" ({lost} more could not be decoded)" if lost else ""
    if collected.num_samples < 2:
        raise DatasetError(
            f"The data set gave {collected.num_samples} usable image(s){unread}; a score needs at least 2."
        )
    if collected.num_samples < options.num_samples:
        _warn(
            f"The data set has {collected.num_samples} usable images{unread}, fewer than num_samples = "
            f"{options.num_samples}; the scores rest on {collected.num_samples}."
        )
    elif lost:
        _warn(f"{lost} image(s) could not be decoded and were replaced by later ones; see the metadata.")


def _warn(message: str) -> None:
    warnings.warn(message, AffscoreWarning, stacklevel=4)


def _score(collected: Collected, options: Options) -> tuple[list[Record], list[Record]]:
    """Score every site. Returns the rows, and records of the sites whose rows do not belong together."""
    rows: list[Record] = []
    unusable: list[Record] = []
    features = collected.features
    sites = features.sites
    with bar(len(sites), "Scores", "layer", enabled=options.progress) as progress:
        for site in sites:
            defect = features.defect(site)
            layer = features.take(site)
            progress.update()
            if defect:
                unusable.append(_skipped_record(SkippedCall(site, defect)))
                continue
            numbers = score_layer(
                layer.pre, layer.post, shrinkage=options.shrinkage, regularization=options.regularization
            )
            row = Record(
                index=len(rows),
                module=site.module,
                activation=site.activation,
                call=site.call,
                kind=site.kind,
                dim=layer.pre.shape[1],
                num_samples=layer.pre.shape[0],
                **numbers,
                sparsity_pre=layer.sparsity_pre[0],
                sparsity_pre_error=layer.sparsity_pre[1],
                sparsity_post=layer.sparsity_post[0],
                sparsity_post_error=layer.sparsity_post[1],
            )
            rows.append(row)
    return rows, unusable


def _skipped_record(call: SkippedCall) -> Record:
    site = call.site
    return Record(
        module=site.module, activation=site.activation, call=site.call, kind=site.kind, reason=call.reason
    )


def _nothing_found(checkpoint: Checkpoint, skipped: list[Record]) -> str:
    seen = "; ".join(f"{row.module} ({row.activation}): {row.reason}" for row in skipped[:10])
    return (
        f"{checkpoint.metadata['class']} ran without any activation that can be scored. "
        + (f"Seen and skipped: {seen}. " if seen else "")
        + f"Looked for calls of {', '.join(looked_for())}."
    )


def _metadata(
    checkpoint: Checkpoint, stream: ImageStream, collected: Collected, options: Options
) -> dict[str, Any]:
    """Everything that changes a number, and what the numbers were made with."""
    import torch

    return {
        "model": checkpoint.metadata,
        "dataset": {
            **stream.metadata,
            "num_samples": collected.num_samples,
            "undecodable": len(collected.undecodable),
            "undecodable_reasons": collected.undecodable[:20],
        },
        "preprocessing": checkpoint.preprocessing,
        "options": {**options.recorded(), "batch_size": options.batch_size or DEFAULT_BATCH_SIZE},
        "numbers_version": NUMBERS_VERSION,
        "environment": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "versions": {
                "hf_affscore": __version__,
                **{name: importlib.metadata.version(name) for name in _LIBRARIES},
            },
            "device": str(next((p.device for p in checkpoint.module.parameters()), "cpu")),
            "num_threads": torch.get_num_threads(),
        },
    }
