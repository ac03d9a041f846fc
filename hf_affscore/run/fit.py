"""Memory of an analysis: checked with the first images, and limited while layers are scored."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

from hf_affscore.errors import InputError
from hf_affscore.machine import available_bytes
from hf_affscore.options import Options
from hf_affscore.score.cost import block_bytes, scoring_bytes
from hf_affscore.score.transport import DENSE, by_price


def check_fits(widths: Sequence[int], num_samples: int, options: Options) -> None:
    """Refuse an analysis whose samples need more memory than is available.

    Layers are scored one after the other where memory is short (:class:`MemoryBudget`), so only the rows and the
    largest layer have to fit.

    Args:
        widths: Pooled width of every layer.
        num_samples: Samples that are scored together.
        options: Memory limit of the rows; with ``"all"``, the rows of the next group are counted too.

    Raises:
        InputError: The analysis does not fit; the message gives the largest number of samples that does.
    """
    available, room = _share(available_bytes()), _room_in_files()
    most_bytes = block_bytes if options.level == "blocks" else scoring_bytes

    def needed(samples: int) -> int:
        rows = 2 * 4 * samples * sum(widths) * (2 if options.num_samples == "all" else 1)
        in_memory = min(rows, int(options.memory_limit * 1e9))
        overflow = (
            rows - in_memory if rows - in_memory > room else 0
        )  # if the disk is full, rows stay in memory
        return in_memory + overflow + max((most_bytes(samples, width) for width in widths), default=0)

    if needed(num_samples) <= available:
        return
    most = _largest(num_samples, lambda samples: needed(samples) <= available)
    option = "group_size" if options.num_samples == "all" else "num_samples"
    advice = f"Use {option} of at most {most}" if most >= 2 else "Free memory, or use a machine with more"
    if num_samples > DENSE and not by_price(num_samples):
        advice += ", or install what keeps fewer pairs: pip install 'hf-affscore[many]'"
    raise InputError(
        f"Scoring {num_samples} samples together needs about {needed(num_samples) / 1e9:.1f} GB of memory, mostly "
        f"for the distances between all pairs, and {available / 1e9:.1f} GB are available. {advice}."
    )


class MemoryBudget:
    """Limits how many layers are scored at once to what fits into memory. One layer is always admitted.

    Args:
        limit: Bytes of all layers together; default: what is available when a first one comes.

    Example:
        >>> budget = MemoryBudget()
        >>> with budget.reserved(10**15):
        ...     print("alone")
        alone
    """

    def __init__(self, limit: int | None = None) -> None:
        self._changed = Condition()
        self._reserved: list[int] = []
        self._fixed = limit
        self._limit = limit or 0

    def can_hold(self, size: int) -> bool:
        """Whether ``size`` bytes would be free if nothing were reserved."""
        with self._changed:
            self._measure()
            return size <= self._limit

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free besides those that other threads have reserved."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved or sum(self._reserved) + size <= self._limit)
            self._measure()
            self._reserved.append(size)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(size)
                self._changed.notify_all()

    def _measure(self) -> None:
        if self._fixed is None and not self._reserved:
            self._limit = _share(available_bytes())


def _share(size: int) -> int:
    """This process's share of a resource that is divided among the processes on this machine."""
    return size // max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _room_in_files() -> int:
    """Bytes available for temporary files; 0 if there is no temporary folder."""
    try:
        return _share(shutil.disk_usage(tempfile.gettempdir()).free)
    except OSError:
        return 0


def _largest(too_many: int, fits: Callable[[int], bool]) -> int:
    """The largest number below ``too_many`` that fits, by bisection; 1 if not even 2 fits."""
    low, high = 1, too_many
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
