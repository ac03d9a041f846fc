"""A random order of what can only be read from its beginning."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from hf_affscore.images.draw import Permuted, uniform

#: Maximum bytes of encoded images of a stream to keep in memory.
STREAM_LIMIT = 10**9


class Beginning:
    """A random order of a stream that can only be read from its beginning.

    Up to ``limit`` bytes are kept. A shorter stream is drawn from uniformly. In a longer one each further item
    replaces a random kept item, which is then used.

    Args:
        items: The stream; it can be iterated over again in the same order.
        seed: Seed of the order.
        size: Gives the bytes of an item.
        metadata: Receives ``draw``, and ``shuffled``: whether the draw covers the whole stream.
        limit: Bytes to keep.
        rows: Length of the stream, if known: the share that was read is recorded.

    Attributes:
        numbers: The place in the stream of every item given so far, in the order they were given.
    """

    def __init__(
        self,
        items: Iterable[Any],
        seed: int,
        size: Callable[[Any], int],
        metadata: dict[str, Any],
        limit: int | None = None,
        rows: int | None = None,
    ) -> None:
        self.items = items
        self._seed = seed
        self._size = size
        self._metadata = metadata
        self._limit, self._rows = STREAM_LIMIT if limit is None else limit, rows
        self.numbers = array("q")

    def __iter__(self) -> Iterator[Any]:
        del self.numbers[:]
        held: list[Any] = []
        stream, size = iter(self.items), 0
        for item in stream:
            held.append(item)
            size += self._size(item)
            if size > self._limit:
                return self._exchanged(held, stream)
        self._metadata |= {"shuffled": True, "draw": {"method": "uniform", "rows": len(held)}}
        order = uniform(len(held), self._seed)
        self.numbers.extend(order)
        return iter(Permuted(held, order))

    def _exchanged(self, held: list[Any], stream: Iterator[Any]) -> Iterator[Any]:
        generator = np.random.default_rng(self._seed)
        record: dict[str, Any] = {"method": "beginning", "ended": False}
        self._metadata |= {"shuffled": False, "draw": record}
        self._record_reach(record, len(held))
        rows = np.arange(len(held))
        for item in stream:
            place = int(generator.integers(len(held)))
            self.numbers.append(rows[place])
            rows[place] = record["reached"]
            self._record_reach(record, record["reached"] + 1)
            yield held[place]
            held[place] = item
        record["ended"] = True
        order = generator.permutation(len(held))
        self.numbers.extend(rows[order])
        yield from Permuted(held, order)

    def _record_reach(self, record: dict[str, Any], reached: int) -> None:
        record["reached"] = reached
        if self._rows:
            record |= {"rows": self._rows, "share": reached / self._rows}
