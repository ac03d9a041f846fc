"""Measures the signature of a network in any training loop, without changing the training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

from torch import nn

from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.images.open import is_name, locate_images, open_images
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.evaluation import random_numbers_kept
from hf_affscore.models.loading import Checkpoint, load_checkpoint
from hf_affscore.models.naming import check_name
from hf_affscore.options import AnalysisOptions, Options
from hf_affscore.patches import original_forward
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import library_bars
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.runner import signature_of
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords
from hf_affscore.training.history import History, make_ready, step_folder
from hf_affscore.training.network import refuse_sharded, unwrapped
from hf_affscore.training.sample import fixed_sample

T = TypeVar("T")

#: Defaults that differ from those of an analysis: the sample is kept in memory and run at every measurement.
DEFAULTS: AnalysisOptions = {"num_samples": 512, "shrinkage": False, "progress": False}


@checked_keywords(AnalysisOptions.__annotations__)
def track(
    model: nn.Module,
    images: str | Path | Iterable[Any],
    *,
    processor: Any = None,
    name: str | None = None,
    **options: Unpack[AnalysisOptions],
) -> Tracker:
    """Track the signature of ``model`` in your own training loop.

    The images are drawn once and kept in memory, so that signatures differ only by the weights. With several
    processes, each must call this function and the tracker: the main process measures its network, which is the
    one that is saved, and all processes get the signature.

    Args:
        model: The network that is being trained; it may be compiled, or wrapped for data parallel training.
        images: Images, as the data set of :func:`hf_affscore.analyze`.
        processor: Image processor, as in :func:`hf_affscore.analyze`.
        name: What to call the network, as in :func:`hf_affscore.analyze`.
        **options: Other keywords of :func:`hf_affscore.analyze`. By default the sample has 512 images, and
            ``shrinkage`` and ``progress`` are off.

    Returns:
        A tracker to call at the steps of interest: ``signature = tracker(step)``.

    Raises:
        InputError: An option is out of range, or an input is of the wrong kind.
        DatasetError: The images cannot be found or read, or there are fewer than two.
        TypeError: An option is misspelt.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> tracker = track(model, list(torch.randn(16, 3, 8, 8)), num_samples=16)
        >>> for step in range(3):  # ... a training step ...
        ...     signature = tracker(step)
        >>> tracker.history
        History(3 signatures at steps 0, 1, 2)
    """
    return Tracker(model, images, processor, tracking_options(options), name=name)


def tracking_options(chosen: AnalysisOptions) -> Options:
    """The options of :func:`track` in one object: the options of an analysis, with other defaults.

    Raises:
        InputError: A value is out of range.
        TypeError: An option is misspelt.
    """
    found = replace(Options(**DEFAULTS), **chosen)
    if found.num_samples == "all":
        raise InputError("num_samples is 'all'; expected a number: the sample is held in memory.")
    found.refuse(("keep_rows", "reuse"), "a training is measured many times; both are for one analysis")
    found.refuse(("level",), "a training is followed by affinity scores, which blocks have none of")
    return found


class Tracker:
    """Measures one network on one fixed sample, at any step, and keeps the signatures.

    A measurement does not change the training: weights, gradients, every module's training flag and the random
    states of Python, numpy and torch are restored, also after an error. The network runs in the precision of its
    weights, also inside an autocast region: the scores are those of the saved checkpoint.

    Args:
        model: The network that is being trained.
        images: Images, as the data set of :func:`hf_affscore.analyze`.
        processor: Image processor, as in :func:`hf_affscore.analyze`.
        options: Options of an analysis.
        name: What to call the network; default: its class.
        folder: Folder in which each signature is saved when it is measured; None: nowhere.
        after: The last step that this training has completed. Signatures of later steps in the folder belong to
            another training, and are moved to a subfolder.

    Attributes:
        history: The signatures, by step.
        processes: The processes that train together.
    """

    def __init__(
        self,
        model: nn.Module,
        images: str | Path | Iterable[Any],
        processor: Any,
        options: Options,
        *,
        name: str | None = None,
        folder: Path | None = None,
        after: int = -1,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model is a {type(model).__name__}; expected the torch.nn.Module that is being trained. "
                "For a checkpoint by name use analyze."
            )
        check_name(name, model)
        self.history = History()
        self._model = model
        self._options = options
        self._folder = folder
        self.processes = Processes.current(options.device)
        self._checkpoint: Checkpoint
        self._sample: ImageStream

        def prepare() -> None:
            with random_numbers_kept(model), library_bars(enabled=options.progress):
                self._checkpoint = load_checkpoint(unwrapped(model), processor, options, name)
                found = locate_images(images, options) if is_name(images) else images
                self._sample = fixed_sample(
                    open_images(found, options, self._checkpoint.input_shape, self._checkpoint.clip_length),
                    options,
                )
                if folder is not None:
                    make_ready(folder, after)

        by_main(self.processes, prepare)

    def __call__(self, step: int | None = None) -> Signature:
        """The same as :meth:`measure`."""
        return self.measure(step)

    def measure(self, step: int | None = None) -> Signature:
        """Measure the signature of the network in its current state.

        Args:
            step: Number of the training step; default: one more than that of the last measurement, from 0.

        Raises:
            InputError: The step is not after the last one.
            ModelError: The network cannot be run on the images, has no activation that can be scored, or its
                weights are sharded over processes.
            SignatureError: The signature cannot be saved.
        """
        with self.processes.sharing_errors():
            number = self.history.checked(self.history.last_step + 1 if step is None else step)
            signature = self._measured(number)
        self.history.add(number, signature)
        return signature

    def _measured(self, number: int) -> Signature:
        def measure() -> Signature:
            refuse_sharded(self._model)
            module = self._checkpoint.module
            with random_numbers_kept(self._model), original_forward(module), library_bars(enabled=False):
                found = signature_of(
                    self._checkpoint, self._sample, self._options, Processes(), ResumeCache()
                )
            signature = replace(found, metadata={**found.metadata, "training": {"step": number}})
            if self._folder is not None:
                signature.save_pretrained(step_folder(self._folder, number))
            return signature

        try:
            return by_main(self.processes, measure)
        except AffscoreError as error:
            raise type(error)(f"At step {number}: {error}") from error


def by_main(processes: Processes, work: Callable[[], T]) -> T:
    """Run ``work`` in the main process, and return its result or raise its error in all processes.

    The work is not divided: with batch normalisation, for example, every process has its own running statistics,
    and only those of the main process are saved. The others wait for it, so that an interruption reaches them too.
    """
    found: T | None = None
    if processes.is_main:
        try:
            found = work()
        except BaseException as error:
            processes.share(error)
            raise
    return cast("T", processes.broadcast(found))
