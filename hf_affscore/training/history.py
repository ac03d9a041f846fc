"""The signatures of one network by training step: as a table, as a picture, and as folders on disk."""

from __future__ import annotations

import itertools
import numbers
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from hf_affscore.errors import InputError, SignatureError, warn
from hf_affscore.signature import Signature
from hf_affscore.summary import EFFECTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class History(Mapping[int, Signature]):
    """Signatures by step, in the order in which they were measured: ``history[100].summary()``.

    Example:
        >>> history = History()
        >>> history.add(0, Signature(rows=(), skipped=(), metadata={}))
        >>> list(history)
        [0]
    """

    def __init__(self) -> None:
        self._signatures: dict[int, Signature] = {}

    def __getitem__(self, step: int) -> Signature:
        return self._signatures[step]

    def __iter__(self) -> Iterator[int]:
        return iter(self._signatures)

    def __len__(self) -> int:
        return len(self._signatures)

    def __repr__(self) -> str:
        return f"History({len(self)} signatures at steps {', '.join(map(str, self)) or 'none'})"

    @property
    def last_step(self) -> int:
        """The step of the last measurement; -1 before the first."""
        return next(reversed(self._signatures), -1)

    def add(self, step: int, signature: Signature) -> None:
        """Append the signature of ``step``.

        Raises:
            InputError: The step is not an integer of at least 0, or not after the last one.
        """
        self._signatures[self.checked(step)] = signature

    def checked(self, step: int) -> int:
        """``step``, if it is valid as the next step.

        Raises:
            InputError: The step is not an integer of at least 0, or not after the last one.
        """
        if not is_whole(step) or step <= self.last_step:
            raise InputError(
                f"step is {step!r}; expected a whole number larger than {self.last_step}. "
                "Steps count on over epochs; a new run needs a new tracker."
            )
        return int(step)

    def to_dataframe(self) -> pd.DataFrame:
        """One line per step and activation: the column ``step``, then the fields of a signature's rows."""
        import pandas as pd

        lines = [{"step": step, **row} for step, signature in self.items() for row in signature.rows]
        return pd.DataFrame(lines).drop(columns=EFFECTS, errors="ignore")

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the scores as a heat map of activations over steps, below a curve of their median.

        Args:
            path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.

        Raises:
            InputError: The history is empty, or ``path`` has another suffix or cannot be written.
        """
        from hf_affscore.plots import plot_history

        return plot_history(self, path)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write each signature into its own folder below ``folder``, and return ``folder``.

        Raises:
            SignatureError: The folder cannot be written.
        """
        for step, signature in self.items():
            signature.save_pretrained(step_folder(folder, step))
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the signatures that :meth:`save` or :class:`~hf_affscore.AffinityCallback` wrote to ``folder``.

        Raises:
            SignatureError: The folder has no such signatures, or one is damaged.
        """
        found = stored_steps(folder)
        if not found:
            raise SignatureError(
                f"No history in {folder}: expected folders named step-000100. "
                "AffinityCallback writes them into `affinity` in the Trainer's output_dir."
            )
        history = cls()
        for step, path in sorted(found.items()):
            history.add(step, Signature.from_pretrained(path))
        return history


def step_folder(folder: str | os.PathLike[str], step: int) -> Path:
    """The folder of the signature of one step, ``step-000100``; names sort in the order of steps."""
    return Path(folder) / f"step-{step:06}"


def stored_steps(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """The folders of single steps below ``folder``, by step."""
    return {
        int(match[1]): path
        for path in Path(folder).glob("step-*")
        if (match := re.fullmatch(r"step-(\d+)", path.name))
    }


def set_aside(folder: Path, after: int) -> Path | None:
    """Move signatures of another training, those of steps later than ``after``, into a subfolder of ``folder``.

    Nothing is deleted: ``History.load(folder / "earlier-1")`` still reads them.

    Returns:
        The subfolder, or None if there was nothing to move.

    Raises:
        OSError: The folder cannot be changed.
    """
    stale = [path for step, path in stored_steps(folder).items() if step > after]
    if not stale:
        return None
    names = (folder / f"earlier-{number}" for number in itertools.count(1))
    place = next(name for name in names if not name.exists())
    place.mkdir()
    for path in stale:
        path.rename(place / path.name)
    return place


def make_ready(folder: Path, after: int) -> None:
    """Make the folder, check that it is writable, and move away signatures of steps later than ``after``.

    Raises:
        SignatureError: The folder cannot be written; this is checked here, before the first measurement.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = set_aside(folder, after)
    except OSError as error:
        raise _not_writable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK):
        raise _not_writable(folder, "no permission")
    if place is not None:
        warn(
            f"{folder} held signatures of another training; they were moved to {place}. "
            "Use another output_dir, or resume_from_checkpoint to continue that training."
        )


def _not_writable(folder: Path, reason: str) -> SignatureError:
    return SignatureError(
        f"Signatures cannot be saved in {folder}: {reason}. Choose an output_dir that you can write to."
    )


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether ``value`` is an integer of Python or numpy, and not a bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
