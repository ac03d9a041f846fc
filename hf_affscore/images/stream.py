"""Encoded images in a fixed order: read again after dropped connections, and ahead of when they are needed.

Nothing is decoded here before it is asked for, and memory does not depend on the length of a data set. An item that
cannot be decoded raises :class:`~hf_affscore.images.decoding.Undecodable`; the runner counts it and goes on.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import pyarrow
from PIL import UnidentifiedImageError

from hf_affscore.compat import client_error
from hf_affscore.errors import AffscoreError, DatasetError, shown_cause

if TYPE_CHECKING:
    from hf_affscore.images.decoding import Decoded

T = TypeVar("T")

#: Files that are read at once where each is a request of its own: it takes a round trip, and no time of the CPU.
FETCHERS = 32

#: How often a stream that breaks off is opened again, and the first pause before it, in seconds.
RETRIES = 3
PAUSE = 0.5


class _Reading(NamedTuple, Generic[T]):
    """A batch of items of which some are still being read."""

    what: T
    items: list[Any]
    files: dict[int, AsyncResult[Any]]  # by the place of the item

    def done(self) -> tuple[T, list[Any]]:
        """Wait for the files; the batch as :meth:`ImageStream.fetched` gives it."""
        read = {place: file.get() for place, file in self.files.items()}
        return self.what, [read.get(place, item) for place, item in enumerate(self.items)]


def _enough(waiting: Collection[_Reading[Any]]) -> bool:
    """Whether so much is being read that the first batch may be waited for."""
    return len(waiting) > 1 and sum(len(batch.files) or 1 for batch in waiting) >= FETCHERS


@dataclass(frozen=True)
class ImageStream:
    """Encoded items in a fixed order, how to decode one, and where they come from.

    Attributes:
        items: Encoded items. Iterating again gives the same order where the source allows it.
        decode: Item to an RGB ``PIL.Image`` or a ``(3, H, W)`` tensor; raises :class:`Undecodable`.
        metadata: What names the source in a signature: id, configuration, split, revision, order.
        fetch: How an item is read where it has not been yet, by a thread: its file, its row; else None.
        reopens: It is read over a connection, and can be opened again where that drops.
    """

    items: Iterable[Any]
    decode: Callable[[Any], Decoded]
    metadata: dict[str, Any]
    fetch: Callable[[Any], Callable[[], Any] | None] = lambda item: None
    reopens: bool = False

    def resumed(self) -> Generator[Any]:
        """The items; where a data set's connection drops, it is opened again at the item it had come to.

        Raises:
            DatasetError: It dropped :data:`RETRIES` times in a row, or failed in another way.
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
                failures += 1 if self.reopens else RETRIES + 1  # what is no stream cannot be opened again
                if failures > RETRIES:
                    raise DatasetError(
                        f"Reading the data set failed {failures} times in a row after {given} images: {error}. "
                        "Start the same analysis again: what it has in the cache is not done twice."
                    ) from shown_cause(error)
                time.sleep(PAUSE * 2**failures)
            except pyarrow.ArrowException as error:
                raise DatasetError(
                    f"The data set holds a damaged file, after {given} images: {error}. Repair or remove it."
                ) from shown_cause(error)
            except Exception as error:  # an iterable may be anybody's code
                raise DatasetError(
                    f"The data set failed after {given} images: {type(error).__name__}: {error}. "
                    "Expected one that can be iterated over; repair it, or take fewer images."
                ) from shown_cause(error)

    def fetched(self, batches: Iterable[tuple[T, list[Any]]]) -> Generator[tuple[T, list[Any]]]:
        """The same batches of items, each with what it came with; remote files are read, by threads.

        They are read ahead of what is given: about :data:`FETCHERS` files, of one batch at least.

        Raises:
            DatasetError: One could not be read.
        """
        waiting = deque[_Reading[T]]()
        with ExitStack() as stack:

            @functools.cache
            def threads() -> ThreadPool:  # not joined at the end: one may wait for a dead connection
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
        """Stop reading what :meth:`resumed` gave.

        A Parquet stream that somebody opened with ``datasets`` waits five seconds for Arrow's threads then; it
        may do so beside the scoring.
        """
        if self.reopens:
            threading.Thread(target=items.close).start()
        else:
            items.close()


def size_of(item: Any) -> int:
    """About how many bytes of memory an item of a stream takes."""
    if isinstance(item, dict):
        return len(item.get("bytes") or b"") + 1_000
    if isinstance(item, bytes):
        return len(item) + 1_000
    pixels = getattr(item, "nbytes", None)  # a tensor's, an array's
    if pixels is None and hasattr(item, "getbands"):
        pixels = item.width * item.height * len(item.getbands())
    return int(pixels or 0) + 8_000


def said(error: Exception) -> str:
    """What ``datasets`` says on one line, and the next step in our words.

    Example:
        >>> said(ValueError("BuilderConfig 'c' not found. Available: ['a', 'b']"))
        "BuilderConfig 'c' not found. Available: ['a', 'b']. Choose one with dataset_config (--dataset-config)."
    """
    if isinstance(error, UnidentifiedImageError):
        return (
            "it decodes its images itself, of which one is damaged. Pass it as it was before it was mapped, or "
            "undecoded (data.decode(False)), to have that one passed over."
        )
    text = " ".join(str(error).partition("Example of usage")[0].split()).rstrip(".")
    if re.match("Config name is missing|BuilderConfig .* not found", text):
        return f"{text}. Choose one with dataset_config (--dataset-config)."
    return f"{text}. Expected image files, Parquet files or WebDataset archives."
