"""The tracker as a callback of transformers' Trainer: when it measures, what it logs, where it saves."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.image_processing_base import ImageProcessingMixin

from hf_affscore.errors import InputError
from hf_affscore.options import AnalysisOptions
from hf_affscore.patches import calling_trainer
from hf_affscore.signature import Signature, call_name
from hf_affscore.training.history import History, is_whole
from hf_affscore.training.track import Tracker, tracking_options


class AffinityCallback(TrainerCallback):
    """Measures the signature of the network that a Trainer trains, on one fixed sample of images.

    Each signature is logged through the Trainer, so that TensorBoard, trackio, wandb and ``log_history`` get
    it, and saved in ``output_dir/affinity/step-000100``. What an earlier training left there is moved to
    ``affinity/earlier-1``, with a warning. The training goes on as if nothing had been measured:
    weights with and without the callback are the same to the last bit. With several processes the main one
    measures while the others wait.

    Args:
        images: What :func:`hf_affscore.analyze` takes as its data set. Drawn once, when training begins, and
            held in memory.
        every_steps: Measure after so many optimizer steps.
        every_epochs: Measure after so many epochs; default: every epoch, unless ``every_steps`` is given.
        at_start: Measure before the first step too.
        log_rows: Log every activation's score as ``affinity/<module>``, besides ``affinity/mean``,
            ``median``, ``min``, ``max`` and ``std``.
        processor: What turns images into inputs, as in :func:`hf_affscore.analyze`; default: the image
            processor that the Trainer has as its ``processing_class``.
        name: What scalars and the folder in ``output_dir`` are called. Several callbacks of one Trainer, on
            several sets of images, need a name each.
        **options: Other keywords of :func:`hf_affscore.analyze`, with the defaults of :func:`hf_affscore.track`:
            512 images, no ``shrinkage``, no ``progress``.

    Attributes:
        history: What was measured, by step: a table, a picture, folders.

    Raises:
        InputError: An option is out of range, or both ``every_steps`` and ``every_epochs`` are given.
        TypeError: An option is misspelt.

    Example:
        >>> callback = AffinityCallback("user/images", every_steps=100)
        >>> callback.history
        History(0 signatures at steps none)
    """

    def __init__(
        self,
        images: str | Path | Iterable[Any],
        *,
        every_steps: int | None = None,
        every_epochs: int | None = None,
        at_start: bool = True,
        log_rows: bool = True,
        processor: Any = None,
        name: str = "affinity",
        **options: Unpack[AnalysisOptions],
    ) -> None:
        if every_steps is not None and every_epochs is not None:
            raise InputError("every_steps and every_epochs are both given; expected one of them.")
        for option, value in (("every_steps", every_steps), ("every_epochs", every_epochs)):
            if value is not None and (not is_whole(value) or value < 1):
                raise InputError(f"{option} is {value!r}; expected a whole number of at least 1.")
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise InputError(f"name is {name!r}; expected letters, digits, '_', '.' or '-'.")
        self.history = History()
        self._images = images
        self._every_steps = every_steps
        self._every_epochs = 1 if every_steps is None and every_epochs is None else every_epochs
        self._at_start = at_start
        self._log_rows = log_rows
        self._processor = processor
        self._options = tracking_options(options)
        self._name = name
        self._tracker: Tracker | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        processing_class: Any = None,
        **others: Any,
    ) -> None:
        """Draw the sample, and measure the network as it is before the first step."""
        assert model is not None
        self._refuse_same_name()
        own = processing_class if isinstance(processing_class, ImageProcessingMixin) else None
        self._tracker = Tracker(
            model,
            self._images,
            self._processor or own,
            self._options,
            folder=Path(args.output_dir or ".") / self._name,
            after=state.global_step or -1,
        )
        self.history = self._tracker.history
        if self._at_start and state.global_step == 0:  # not where a training is resumed
            self._measure(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure at every so many steps."""
        if self._every_steps is not None and state.global_step % self._every_steps == 0:
            self._measure(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure at every so many epochs; the last one may be shorter than the others."""
        if self._every_epochs is not None and math.ceil(state.epoch or 0) % self._every_epochs == 0:
            self._measure(state, control)

    def _refuse_same_name(self) -> None:
        """Raise where another callback of this Trainer would write to the same places."""
        others = _trainer().callback_handler.callbacks
        if any(isinstance(o, AffinityCallback) and o._name == self._name and o is not self for o in others):
            raise InputError(
                f"Two AffinityCallbacks of this Trainer are named {self._name!r}; expected one of each name. "
                "Pass name= to one of them."
            )

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        if self._tracker is None:
            raise InputError(
                "This AffinityCallback joined a training that had begun; expected it from the beginning. "
                "Pass it to the Trainer as callbacks=[...], or call add_callback before train."
            )
        with self._tracker.processes.sharing_errors():  # a log may fail in the process that writes it alone
            signature = self._tracker.measure(state.global_step)
            should_log = control.should_log
            _trainer().log(logged(signature, rows=self._log_rows, name=self._name))
        control.should_log = should_log  # log() clears it, and the Trainer's own log would be left out


def logged(signature: Signature, *, rows: bool = True, name: str = "affinity") -> dict[str, float]:
    """The scalars of one signature by readable names; undefined scores are left out.

    Args:
        signature: What was measured.
        rows: Whether every activation has a scalar of its own.
        name: What stands before the slash.

    Example:
        >>> from hf_affscore.signature import Record
        >>> row = Record(module="layer1.relu", activation="ReLU", call=0, affinity_score=0.5)
        >>> logged(Signature(rows=(row,), skipped=(), metadata={}))["affinity/layer1.relu"]
        0.5
    """
    summary = signature.summary()
    values = {f"{name}/{each}": summary[each] for each in ("mean", "median", "min", "max", "std")}
    if rows:
        times = Counter(map(call_name, signature.rows))
        for row in signature.rows:
            call = call_name(row)
            call += f" {row.activation}" if times[call] > 1 else ""  # two functions in one forward()
            values[f"{name}/{call}"] = row.affinity_score
    return {scalar: value for scalar, value in values.items() if math.isfinite(value)}


def _trainer() -> Trainer:
    """The Trainer whose event this is.

    Raises:
        InputError: Something else called the callback.
    """
    trainer = calling_trainer()
    if trainer is None:
        raise InputError(
            "AffinityCallback was called by something that is no transformers.Trainer. Pass it to a Trainer as "
            "callbacks=[...]; for a loop of your own there is track."
        )
    return trainer
