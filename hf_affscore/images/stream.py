"""Encoded images in a fixed order, read ahead of use and reopened after dropped connections.

Images are decoded on demand, and memory does not depend on the length of a data set. An item that cannot be decoded
raises :class:`~hf_affscore.images.decoding.Undecodable`; the runner counts it and continues.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Sized
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import pyarrow
from PIL import UnidentifiedImageError

from hf_affscore.compat import client_error
from hf_affscore.errors import AffscoreError, DatasetError, shown_cause

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hf_affscore.images.decoding import Decoded

T = TypeVar("T")

#: Remote files that are read in parallel: each is a request that waits for a round trip and needs no CPU time.
FETCHERS = 32

#: How often a broken stream is reopened, and the first pause before a retry, in seconds.
RETRIES = 3
PAUSE = 0.5


class _Reading(NamedTuple, Generic[T]):
    """A batch of items, some of which are still being read."""

    what: T
    items: list[Any]
    files: dict[int, AsyncResult[Any]]  # by the place of the item

    def done(self) -> tuple[T, list[Any]]:
        """Wait for the files and return the batch, as :meth:`ImageStream.fetched` yields it."""
        read = {place: file.get() for place, file in self.files.items()}
        return self.what, [read.get(place, item) for place, item in enumerate(self.items)]


def _enough(waiting: Collection[_Reading[Any]]) -> bool:
    """Whether enough files are being read, so that the first batch can be awaited."""
    return len(waiting) > 1 and sum(len(batch.files) or 1 for batch in waiting) >= FETCHERS


@dataclass(frozen=True)
class ImageStream:
    """Encoded items in a fixed order, how to decode one, and where they come from.

    Attributes:
        items: Encoded items. Iterating again gives the same order if the source allows it.
        decode: Item to an RGB ``PIL.Image`` or a ``(3, H, W)`` tensor; raises :class:`Undecodable`.
        metadata: The source in a signature: id, configuration, split, revision, order.
        fetch: The function with which a thread reads the file or row of an item; None if there is nothing to read.
        reopens: Whether the source is read over a connection and can be reopened if it drops.
        numbers: The row number of each item, of a stream of those that it has given; None where items have none.
    """

    items: Iterable[Any]
    decode: Callable[[Any], Decoded]
    metadata: dict[str, Any]
    fetch: Callable[[Any], Callable[[], Any] | None] = lambda item: None
    reopens: bool = False
    numbers: NDArray[np.int64] | array[int] | None = None

    @property
    def length(self) -> int | None:
        """The number of items; None if unknown, as of a stream that has not been read to its end."""
        if isinstance(self.items, Sized):
            return len(self.items)
        rows: int | None = self.metadata.get("draw", {}).get("rows")
        return rows

    def row(self, position: int) -> int | None:
        """The number of an item in its split or sequence; None of archives that are read in random order."""
        if self.metadata.get("draw", {}).get("method") == "in order":
            return position
        return None if self.numbers is None else int(self.numbers[position])

    def resumed(self) -> Generator[Any]:
        """The items; if the connection drops, the data set is reopened at the current item.

        Raises:
            DatasetError: All :data:`RETRIES` retries in a row failed, or reading failed in another way.
        """
        given, failures = 0, 0
        while True:
            try:
                for item in itertools.islice(self.items, given, None):
                    yield item
                    given, failures = given + 1, 0
                return
            except AffscoreError:
                raise
            except UnidentifiedImageError as error:
                raise DatasetError(
                    f"Reading the data set failed after {given} images: {said(error)}"
                ) from shown_cause(error)
            except (OSError, client_error()) as error:
                failures += 1 if self.reopens else RETRIES + 1  # only a stream can be reopened
                if failures > RETRIES:
                    raise DatasetError(
                        f"Reading the data set failed {failures} times in a row after {given} images: {error}. "
                        "Start the same analysis again: cached results are reused."
                    ) from shown_cause(error)
                time.sleep(PAUSE * 2**failures)
            except pyarrow.ArrowException as error:
                raise DatasetError(
                    f"The data set holds a damaged file, after {given} images: {error}. Repair or remove it."
                ) from shown_cause(error)
            except Exception as error:  # an iterable may run any code
                raise DatasetError(
                    f"The data set failed after {given} images: {type(error).__name__}: {error}. "
                    "Expected a data set that can be iterated over; repair it, or use fewer images."
                ) from shown_cause(error)

    def fetched(self, batches: Iterable[tuple[T, list[Any]]]) -> Generator[tuple[T, list[Any]]]:
        """The same batches with their remote files read by threads; the first element of each pair is unchanged.

        Files are read ahead: about :data:`FETCHERS` files, and at least one batch.

        Raises:
            DatasetError: A file could not be read.
        """
        waiting = deque[_Reading[T]]()
        with ExitStack() as stack:

            @functools.cache
            def threads() -> ThreadPool:  # not joined at the end: a thread may wait for a dead connection
                return stack.enter_context(ThreadPool(FETCHERS))

            for what, items in batches:
                jobs = enumerate(map(self.fetch, items))
                files = {place: threads().apply_async(job) for place, job in jobs if job is not None}
                waiting.append(_Reading(what, items, files))
                while waiting and (not waiting[0].files or _enough(waiting)):
                    yield waiting.popleft().done()
            for reading in waiting:
                yield reading.done()

    def leave(self, items: Generator[Any]) -> None:
        """Close the generator that :meth:`resumed` returned.

        Closing a Parquet stream that the user opened with ``datasets`` waits five seconds for Arrow's threads;
        a thread does it in parallel to the scoring.
        """
        if self.reopens:
            threading.Thread(target=items.close).start()
        else:
            items.close()


def size_of(item: Any) -> int:
    """The approximate memory of an item of a stream, in bytes."""
    if isinstance(item, dict):
        return len(item.get("bytes") or b"") + 1_000
    if isinstance(item, bytes):
        return len(item) + 1_000
    if isinstance(item, list | tuple):
        return sum(map(size_of, item))
    pixels = getattr(item, "nbytes", None)  # a tensor's, an array's
    if pixels is None and hasattr(item, "getbands"):
        pixels = item.width * item.height * len(item.getbands())
    return int(pixels or 0) + 8_000


def said(error: Exception) -> str:
    """The message of a ``datasets`` error on one line, with a next step.

    Example:
        >>> said(ValueError("BuilderConfig 'c' not found. Available: ['a', 'b']"))
        "BuilderConfig 'c' not found. Available: ['a', 'b']. Choose one with dataset_config (--dataset-config)."
    """
    if isinstance(error, UnidentifiedImageError):
        return (
            "it decodes its images itself, and one of them is damaged. To skip that image, pass the data set as it "
            "was before map(), or undecoded (data.decode(False))."
        )
    sentence, *_ = re.split(r"Example of usage|(?<=supported extension) \[", str(error))
    text = " ".join(sentence.split()).rstrip(".")
    if re.match("Config name is missing|BuilderConfig .* not found", text):
        return f"{text}. Choose one with dataset_config (--dataset-config)."
    return f"{text}. Expected image files, Parquet files or WebDataset archives."
