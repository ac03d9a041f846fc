"""The signature of a network that is being trained, measured in any loop without disturbing the training."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hf_affscore.errors import (
    AffscoreError,
    AffscoreWarning,
    DatasetError,
    InputError,
    ModelError,
    SignatureError,
)
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.loading import Checkpoint, load_checkpoint
from hf_affscore.options import Options
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import library_bars
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.runner import signature_of
from hf_affscore.signature import Signature
from hf_affscore.training.history import History, set_aside, step_folder

T = TypeVar("T")

#: Images of the fixed sample where nothing else is said: they are held in memory, and run at every measurement.
NUM_SAMPLES = 512


def track(
    model: nn.Module,
    images: str | Path | Iterable[Any],
    *,
    processor: Any = None,
    num_samples: int = NUM_SAMPLES,
    **options: Any,
) -> Tracker:
    """Follow the signature of ``model`` in a training loop of your own.

    The images are drawn once and held in memory, so that signatures differ by the weights alone. In a run of
    several processes each must call this, and the tracker: the main one measures its network, which is the one
    that is saved, and all get the signature.

    Args:
        model: The network that is being trained; wrapped for data parallel training or compiled is as well.
        images: What :func:`hf_affscore.analyze` takes as its data set.
        processor: What turns images into inputs, as in :func:`hf_affscore.analyze`.
        num_samples: Images of the sample.
        **options: Other keywords of :func:`hf_affscore.analyze`. ``shrinkage`` and ``progress`` are off here
            unless asked for.

    Returns:
        What to call at the steps of interest: ``signature = tracker(step)``.

    Raises:
        InputError: An option is out of range, or an input is of the wrong kind.
        DatasetError: The images cannot be found or read, or there are fewer than two.
        TypeError: An option is misspelt.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> tracker = track(model, list(torch.randn(16, 3, 8, 8)), num_samples=16)
        >>> for step in range(3):  # ... a training step ...
        ...     signature = tracker(step)
        >>> tracker.history
        History(3 signatures at steps 0, 1, 2)
    """
    return Tracker(model, images, processor, tracking_options(num_samples=num_samples, **options))


def tracking_options(**options: Any) -> Options:
    """The options of :func:`track` in one object: those of an analysis, with its own defaults."""
    found = Options(**{"shrinkage": False, "progress": False, **options})
    if found.num_samples == "all":
        raise InputError("num_samples is 'all'; expected a number: the sample is held in memory.")
    return found


class Tracker:
    """Measures one network on one fixed sample, at any step, and keeps what it measured.

    Training goes on as if nothing had been measured: weights, gradients, every module's training flag and the
    random numbers of Python, numpy and torch are as before, also after an error. The network runs in the
    precision of its weights, also within an autocast region: the scores are those of the saved checkpoint.

    Args:
        model: The network that is being trained.
        images: What :func:`hf_affscore.analyze` takes as its data set.
        processor: What turns images into inputs.
        options: Those of an analysis.
        folder: Where every signature is saved as soon as it is measured; None: nowhere.
        after: The last step that this training has behind it. What the folder has of later ones is another
            training's, and is set aside.

    Attributes:
        history: What was measured, by step.
    """

    def __init__(
        self,
        model: nn.Module,
        images: str | Path | Iterable[Any],
        processor: Any,
        options: Options,
        *,
        folder: Path | None = None,
        after: int = -1,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model is a {type(model).__name__}; expected the torch.nn.Module that is being trained. "
                "For a checkpoint by name there is analyze."
            )
        self.history = History()
        self._model = model
        self._options = options
        self._folder = folder
        self._processes = Processes.current(options.device)
        self._checkpoint: Checkpoint
        self._sample: ImageStream

        def prepare() -> None:
            with _undisturbed(model), library_bars(enabled=options.progress):
                self._checkpoint = load_checkpoint(_unwrapped(model), processor, options)
                found = locate_images(images, options) if isinstance(images, str | Path) else images
                self._sample = _held(open_images(found, options, self._checkpoint.input_shape), options)
                if folder is not None:
                    _make_ready(folder, after)

        _by_main(self._processes, prepare)

    def __call__(self, step: int | None = None) -> Signature:
        """The same as :meth:`measure`."""
        return self.measure(step)

    def measure(self, step: int | None = None) -> Signature:
        """The signature of the network as it is now.

        Args:
            step: Number of the training step; default: one more than that of the last measurement, from 0.

        Raises:
            InputError: The step is not after the last one.
            ModelError: The network cannot be run on the images, has no activation that can be scored, or its
                weights are spread over processes.
            SignatureError: The signature cannot be saved.
        """
        number = self.history.checked(self.history.last_step + 1 if step is None else step)

        def measure() -> Signature:
            _refuse_sharded(self._model)
            module = self._checkpoint.module
            with _undisturbed(self._model), _without_autocast(module), library_bars(enabled=False):
                found = signature_of(
                    self._checkpoint, self._sample, self._options, Processes(), ResumeCache()
                )
            signature = replace(found, metadata={**found.metadata, "training": {"step": number}})
            if self._folder is not None:
                signature.save_pretrained(step_folder(self._folder, number))
            return signature

        try:
            signature = _by_main(self._processes, measure)
        except AffscoreError as error:
            raise type(error)(f"At step {number}: {error}") from error
        self.history.add(number, signature)
        return signature


def _by_main(processes: Processes, work: Callable[[], T]) -> T:
    """What the main process gets from ``work``, in all of them; or its error, in all of them.

    The work is not shared: with batch normalisation, say, every process has running statistics of its own, and
    only the main one's are saved.
    """
    outcome: Any = None
    if processes.is_main:
        try:
            outcome = work()
        except AffscoreError as error:
            outcome = error
    outcome = processes.gather(outcome)[0]
    if isinstance(outcome, AffscoreError):
        raise outcome
    found: T = outcome
    return found


def _held(stream: ImageStream, options: Options) -> ImageStream:
    """The first images of a stream that can be read, decoded and in memory.

    Raises:
        DatasetError: There are fewer than two.
    """
    images: list[Any] = []
    unreadable = 0
    for _, [item] in stream.fetched((None, [item]) for item in stream.resumed()):
        if len(images) == options.num_samples or len(images) + unreadable == options.max_images:
            break
        try:
            image = stream.decode(item)
        except Undecodable:
            unreadable += 1
            continue
        images.append(image.clone() if isinstance(image, Tensor) else image)
    found = f"The data set has {len(images)} usable images"
    found += f" ({unreadable} more could not be decoded)" if unreadable else ""
    if len(images) < 2:
        raise DatasetError(f"{found}; a score needs at least 2.")
    if len(images) != options.num_samples:
        warnings.warn(
            f"{found}, fewer than num_samples = {options.num_samples}; the scores rest on {len(images)}.",
            AffscoreWarning,
            stacklevel=4,
        )
    elif unreadable:
        warnings.warn(
            f"{unreadable} image(s) could not be decoded and were replaced by later ones.",
            AffscoreWarning,
            stacklevel=4,
        )
    return ImageStream(images, lambda image: image, stream.metadata)


def _make_ready(folder: Path, after: int) -> None:
    """A folder that can be written to, without signatures of steps that are still to come.

    Raises:
        SignatureError: It cannot be written to: better found now than at the first measurement.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = set_aside(folder, after)
    except OSError as error:
        raise _not_writable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK):
        raise _not_writable(folder, "no permission")
    if place is not None:
        warnings.warn(
            f"{folder} held signatures of another training; they were moved to {place}. "
            "Use another output_dir, or resume_from_checkpoint to go on with that training.",
            AffscoreWarning,
            stacklevel=4,
        )


def _not_writable(folder: Path, reason: str) -> SignatureError:
    return SignatureError(
        f"Signatures cannot be saved in {folder}: {reason}. Choose an output_dir that you can write to."
    )


@contextmanager
def _without_autocast(module: nn.Module) -> Iterator[None]:
    """The network in the precision of its weights, also where mixed precision is asked for.

    Accelerate then replaces ``forward`` by one that opens an autocast region of its own, and keeps the original
    beside it.
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


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """What a training loop shares with everything that runs in its process is as before, afterwards.

    Flags and gradients of the model are the matter of :func:`hf_affscore.models.evaluation.evaluating`.
    """
    python, arrays = random.getstate(), np.random.get_state()
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside wrappers for data parallel training and compilation."""
    from accelerate.utils import extract_model_from_parallel

    inner: nn.Module = extract_model_from_parallel(model, keep_torch_compile=False)
    return inner if inner is model else _unwrapped(inner)


def _refuse_sharded(model: nn.Module) -> None:
    """Raise where no process has the whole network: FSDP, tensor parallelism, DeepSpeed's ZeRO-3."""
    wrapped = any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules())
    spread = any(hasattr(p, "device_mesh") or hasattr(p, "ds_id") for p in model.parameters())
    if wrapped or spread:
        raise ModelError(
            f"Expected a network that every process has whole; the weights of {type(model).__name__} are spread "
            "over processes. Train with data parallelism, or analyse saved checkpoints."
        )
