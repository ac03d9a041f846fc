"""A callback of transformers' Trainer that measures, logs and saves signatures during training."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

from torch import nn
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.image_processing_base import ImageProcessingMixin

from hf_affscore.errors import InputError
from hf_affscore.options import AnalysisOptions
from hf_affscore.patches import calling_trainer
from hf_affscore.signature import Signature, call_name
from hf_affscore.spelling import checked_keywords
from hf_affscore.training.history import History, is_whole
from hf_affscore.training.track import Tracker, tracking_options


class AffinityCallback(TrainerCallback):
    """Measures the signature of the network that a Trainer trains, on one fixed sample of images.

    Each signature is logged through the Trainer, so that TensorBoard, trackio, wandb and ``log_history`` get
    it, and saved in ``output_dir/affinity/step-000100``. Signatures of an earlier training in that folder are moved
    to ``affinity/earlier-1``, with a warning. The callback does not change the training: weights with and without
    it are equal to the last bit. With several processes, the main process measures while the others wait.

    Args:
        images: Images, as the data set of :func:`hf_affscore.analyze`. Drawn once, when training begins, and kept
            in memory.
        every_steps: Measure every this many optimizer steps.
        every_epochs: Measure every this many epochs; default: every epoch, unless ``every_steps`` is given.
        at_start: Also measure before the first step.
        log_rows: Log every activation's score as ``affinity/<module>``, besides ``affinity/mean``,
            ``median``, ``min``, ``max`` and ``std``. The Trainer prints only these; trackers and ``log_history``
            get all.
        processor: Image processor, as in :func:`hf_affscore.analyze`; default: the image processor that the
            Trainer has as its ``processing_class``.
        name: Prefix of the logged scalars, and name of the folder in ``output_dir``. Several callbacks of one
            Trainer, on different images, need different names.
        **options: Other keywords of :func:`hf_affscore.analyze`, with the defaults of :func:`hf_affscore.track`:
            512 images, no ``shrinkage``, no ``progress``.

    Attributes:
        history: The signatures by step, which can be shown as a table or a picture, or saved in folders.

    Raises:
        InputError: An option is out of range, or both ``every_steps`` and ``every_epochs`` are given.
        TypeError: An option is misspelt.

    Example:
        >>> callback = AffinityCallback("user/images", every_steps=100)
        >>> callback.history
        History(0 signatures at steps none)
    """

    @checked_keywords(AnalysisOptions.__annotations__)
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
        """Draw the sample, and measure the network before the first step."""
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
        if self._at_start and state.global_step == 0:  # not when training is resumed
            self._measure(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure every ``every_steps`` steps."""
        if self._every_steps is not None and state.global_step % self._every_steps == 0:
            self._measure(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure every ``every_epochs`` epochs; the last epoch may be shorter than the others."""
        if self._every_epochs is not None and math.ceil(state.epoch or 0) % self._every_epochs == 0:
            self._measure(state, control)

    def _refuse_same_name(self) -> None:
        """Raise if another callback of this Trainer has the same name, and so would write to the same places."""
        others = _trainer().callback_handler.callbacks
        if any(isinstance(o, AffinityCallback) and o._name == self._name and o is not self for o in others):
            raise InputError(
                f"Two AffinityCallbacks of this Trainer are named {self._name!r}; expected one of each name. "
                "Pass name= to one of them."
            )

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        if self._tracker is None:
            raise InputError(
                "This AffinityCallback was added after training had begun; expected it from the beginning. "
                "Pass it to the Trainer as callbacks=[...], or call add_callback before train."
            )
        with self._tracker.processes.sharing_errors():  # logging may fail only in the process that writes
            signature = self._tracker.measure(state.global_step)
            should_log = control.should_log
            summary = logged(signature, rows=False, name=self._name)
            rows = logged(signature, name=self._name) if self._log_rows else {}
            with _off_the_console(_trainer(), rows.keys() - summary.keys()):
                _trainer().log({**summary, **rows})
        control.should_log = should_log  # log() clears it, and the Trainer would skip its own log


def logged(signature: Signature, *, rows: bool = True, name: str = "affinity") -> dict[str, float]:
    """The scalars of one signature by readable names; undefined scores are left out.

    Args:
        signature: The signature.
        rows: Whether to add a scalar for every activation.
        name: Prefix of the names, before the slash.

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


class _Shortened(TrainerCallback):
    """A callback that prints logs, without the scalars of single activations."""

    def __init__(self, printing: TrainerCallback, left_out: Collection[str]) -> None:
        self._printing, self._left_out = printing, left_out

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        shown = {name: value for name, value in (logs or {}).items() if name not in self._left_out}
        self._printing.on_log(args, state, control, logs=shown, **others)


@contextmanager
def _off_the_console(trainer: Trainer, names: Collection[str]) -> Iterator[None]:
    """Keep scalars from the callbacks that print; trackers and ``log_history`` get them."""
    handler = trainer.callback_handler
    usual = handler.callbacks
    printing = (PrinterCallback, ProgressCallback)
    handler.callbacks = [_Shortened(each, names) if isinstance(each, printing) else each for each in usual]
    try:
        yield
    finally:
        handler.callbacks = usual


def _trainer() -> Trainer:
    """The Trainer that called the callback.

    Raises:
        InputError: The caller is not a Trainer.
    """
    trainer = calling_trainer()
    if trainer is None:
        raise InputError(
            "AffinityCallback was not called by a transformers.Trainer. Pass it to a Trainer as callbacks=[...]; "
            "for your own training loop use track."
        )
    return trainer
