"""Rows read in blocks, each block once, and kept in a temporary file until they are used in another order.

If the disk is full, rows are kept in memory.
"""

from __future__ import annotations

import functools
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow

from hf_affscore.compat import client_error
from hf_affscore.errors import DatasetError
from hf_affscore.images.draw import Order
from hf_affscore.images.stream import PAUSE, RETRIES

if TYPE_CHECKING:
    from hf_affscore.images.parquet import ParquetRows

#: Blocks that are read in parallel.
READERS = 8

#: Positions that one thread may lag behind another: their rows are kept.
BEHIND = 1024


@dataclass
class _Window:
    """Rows of one set of blocks, and which blocks of it have been read."""

    file: Any = field(default_factory=functools.partial(tempfile.TemporaryFile, buffering=0))
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    in_memory: dict[int, bytes] = field(default_factory=dict)
    read: dict[int, threading.Lock] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, position: int, content: Any) -> None:
        with self.lock:
            start = self.file.seek(0, 2)
            try:
                whole = self.file.write(content) == len(content)
            except OSError:
                whole = False
            if whole:
                self.places[position] = start, len(content)
            else:  # the disk is full
                self.in_memory[position] = bytes(content)

    def get(self, position: int) -> bytes | None:
        with self.lock:
            if position not in self.places:
                return self.in_memory.get(position)
            start, length = self.places[position]
            self.file.seek(start)
            content: bytes = self.file.read(length)
            return content


class HeldRows:
    """Examples by their position in an order; safe to use from several threads.

    A block is read when one of its rows is first needed. Its other rows that are likely to be needed are kept until
    the next set of blocks begins.

    Args:
        rows: The rows to read.
        order: The row number at each position.
    """

    def __init__(self, rows: ParquetRows, order: Order) -> None:
        self._rows = rows
        self._order = order
        self._ends = np.cumsum([block.rows for block in rows.blocks], dtype=np.int64)
        self._positions = np.empty_like(order.numbers)
        self._positions[order.numbers] = np.arange(len(order.numbers))
        self._windows: dict[int, _Window] = {}
        self._lock = threading.Lock()
        self._readers = threading.Semaphore(READERS)

    def __len__(self) -> int:
        return len(self._order.numbers)

    def __iter__(self) -> Iterator[int]:
        """The positions; examples are read on demand."""
        return iter(range(len(self)))

    def example(self, position: int) -> dict[str, Any]:
        """The example at one position of the order.

        Raises:
            DatasetError: The example cannot be read.
        """
        number = int(self._order.numbers[position])
        block = int(self._ends.searchsorted(number, side="right"))
        window = self._entered(position)
        try:
            with self._lock:
                reading = window.read.setdefault(block, threading.Lock())
            with reading:
                content = window.get(position)
                if content is None:
                    self._read(block, window, position)
                    content = window.get(position)
        finally:
            with self._lock:
                window.busy -= 1
        assert content is not None
        schema = self._rows.features.arrow_schema
        return self._rows.example(pyarrow.ipc.read_record_batch(pyarrow.py_buffer(content), schema))

    def _entered(self, position: int) -> _Window:
        """The window of a position; windows far behind it are closed."""
        starts = self._order.starts
        number = int(starts.searchsorted(position, side="right")) - 1
        with self._lock:
            for old in [old for old in self._windows if old < number and starts[old + 1] < position - BEHIND]:
                if not self._windows[old].busy:
                    self._windows.pop(old).file.close()
            if number not in self._windows:
                self._windows[number] = _Window()
            window = self._windows[number]
            window.busy += 1
        return window

    def _read(self, block: int, window: _Window, position: int) -> None:
        """Read a block and keep the row at ``position`` and the others that are likely to be needed."""
        end = int(self._ends[block])
        start = end - self._rows.blocks[block].rows
        positions = self._positions[start:end]
        keep = positions == position
        if block not in window.done:
            keep |= positions < self._order.wanted
        numbers = keep.nonzero()[0].tolist()
        with self._readers:
            for attempt in range(RETRIES + 1):
                try:
                    for number, batch in self._rows.read(block, numbers):
                        window.put(int(positions[number]), batch.serialize())
                    break
                except (OSError, client_error(), pyarrow.ArrowException) as error:
                    if attempt == RETRIES or isinstance(error, pyarrow.ArrowInvalid):
                        raise _unreadable(self._rows.name_of(block), error, attempt + 1) from error
                    time.sleep(PAUSE * 2 ** (attempt + 1))
        window.done.add(block)


def _unreadable(name: str, error: Exception, attempts: int) -> DatasetError:
    said = str(error).splitlines()[0].rstrip(".")
    if isinstance(error, pyarrow.ArrowException):
        return DatasetError(f"The data set holds a damaged file, {name}: {said}. Repair or remove it.")
    return DatasetError(
        f"Reading {name} of the data set failed {attempts} times in a row: {said}. "
        "Start the same analysis again: cached results are reused."
    )
