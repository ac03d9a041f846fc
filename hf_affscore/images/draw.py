"""Which images of a split are used, and in which order: row numbers that follow from the seed alone.

Three draws, and what each is (``draw["method"]`` in the metadata of a signature):

- ``"uniform"``: a random permutation of all rows of the split, cut after as many as are needed. Every set of rows
  is as likely as any other of its size: the number of images of a class is hypergeometric, however rows are sorted.
- ``"row groups"``: row groups of Parquet files in random order, taken together until they have :data:`READ_LIMIT`
  bytes, and a uniform draw from their rows. Every image is as likely as any other where row groups are of one size,
  but images of one row group come together more often than by chance: where rows are sorted, the sample varies as
  much as a smaller one.
- ``"beginning"``: a uniform draw from as much of a stream as was read. It says nothing about the rest.

The first is what is done wherever the number of rows is known and reading them costs at most :data:`READ_LIMIT`
bytes. ``"in order"`` is no draw: the first images are used. Nothing here depends on processes, batch sizes or
shards, and a uniform draw gives the same row numbers for every format of the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hf_affscore.options import Options

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Bytes that may be read for a draw, and that may lie in a temporary file for it.
READ_LIMIT = 2_500_000_000

#: Bytes of encoded images that are held of a stream.
STREAM_LIMIT = 10**9

#: Images beyond those asked for that are kept when they are read anyway: they replace damaged ones.
SPARE = 64


class Indexed(Protocol[T_co]):
    """What gives items by their number."""

    def __getitem__(self, number: int, /) -> T_co: ...


@dataclass(frozen=True)
class Block:
    """Rows that can only be read together.

    Attributes:
        rows: How many there are.
        size: Bytes that are read for them.
    """

    rows: int
    size: int


@dataclass(frozen=True)
class Order:
    """Row numbers in the order of use.

    Attributes:
        numbers: All rows of the split, shape ``(rows,)``.
        starts: Positions where another set of blocks begins: what lies before has no block in common with it.
        wanted: Positions from the first that are likely to be used.
        record: What was drawn from what, for the metadata of a signature.
    """

    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    wanted: int
    record: dict[str, Any]


def images_wanted(options: Options) -> int | None:
    """Images that an analysis looks at, damaged ones not counted; None: all there are."""
    limits = [options.max_images, None if options.num_samples == "all" else options.num_samples]
    return min((limit for limit in limits if limit is not None), default=None)


def uniform(rows: int, seed: int) -> NDArray[np.int64]:
    """All row numbers in random order.

    Example:
        >>> uniform(5, seed=0).tolist()
        [2, 4, 3, 0, 1]
    """
    return np.random.default_rng(seed).permutation(rows)


def draw_rows(rows: int, options: Options) -> Order:
    """The order of rows that can be read one by one."""
    return draw_from_blocks([Block(rows, 0)] if rows else [], options)


def draw_from_blocks(blocks: Sequence[Block], options: Options) -> Order:
    """The order of rows that lie in blocks, which is uniform where that costs no more than :data:`READ_LIMIT`."""
    lengths = np.array([block.rows for block in blocks], dtype=np.int64)
    sizes = np.array([block.size for block in blocks], dtype=np.int64)
    rows, asked = int(lengths.sum()), images_wanted(options)
    wanted = rows if asked is None else min(rows, asked + asked // 8 + SPARE)
    if not options.shuffle:
        starts = _windows(sizes, lengths, READ_LIMIT // 16)[1]
        return Order(np.arange(rows), starts, wanted, {"method": "in order", "rows": rows})
    numbers = uniform(rows, options.seed)
    needed = numbers if asked is None else numbers[:asked]
    touched = np.unique(np.searchsorted(lengths.cumsum(), needed, side="right"))
    if sizes[touched].sum() <= READ_LIMIT:
        return Order(numbers, np.zeros(1, np.int64), wanted, {"method": "uniform", "rows": rows})
    return _by_row_groups(lengths, sizes, wanted, asked, options.seed)


def _by_row_groups(
    lengths: NDArray[np.int64], sizes: NDArray[np.int64], wanted: int, asked: int | None, seed: int
) -> Order:
    """Blocks in random order, in sets of at most :data:`READ_LIMIT` bytes; the rows of each set in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    first_rows = lengths.cumsum() - lengths
    sets, starts = _windows(sizes[order], lengths[order], READ_LIMIT)
    numbers = [
        generator.permutation(
            np.concatenate([np.arange(lengths[block]) + first_rows[block] for block in order[part]])
        )
        for part in sets
    ]
    together = [part.stop - part.start for part in sets]
    used = int(starts.searchsorted(asked or lengths.sum(), side="left"))
    record = {
        "method": "row groups",
        "rows": int(lengths.sum()),
        "row_groups": len(lengths),
        "drawn_row_groups": sum(together[:used]),
        "row_groups_together": max(together[:used]),
    }
    return Order(np.concatenate(numbers), starts, wanted, record)


def _windows(
    sizes: NDArray[np.int64], lengths: NDArray[np.int64], limit: int
) -> tuple[list[slice], NDArray[np.int64]]:
    """Consecutive blocks in sets of at most ``limit`` bytes, one at least, and the row at which each set begins."""
    cuts, held = [0], 0
    for number, size in enumerate(sizes):
        if held and held + size > limit:
            cuts.append(number)
            held = 0
        held += int(size)
    ends = [*cuts[1:], len(sizes)]
    before = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
    return [slice(*ends) for ends in zip(cuts, ends, strict=True)], before[cuts]


def reach_of(record: Mapping[str, Any]) -> str | None:
    """A sentence about a draw that did not reach all of a stream; None of any other.

    Args:
        record: The ``draw`` of the metadata.

    Example:
        >>> reach_of({"method": "uniform", "rows": 5000}) is None
        True
    """
    if record.get("method") != "beginning" or record["ended"]:
        return None
    of = f"of its {record['rows']} images" if record.get("rows") else "of a stream whose length is not known"
    return (
        f"The images were drawn from the first {record['reached']} {of}, which can only be read from its beginning "
        "on: what comes later had no chance. To draw from all, pass Parquet files, a folder, or local archives."
    )


def dependence_of(record: Mapping[str, Any]) -> str | None:
    """Why images of a draw are not independent of each other; None where they are.

    Args:
        record: The ``draw`` of the metadata.

    Example:
        >>> dependence_of({"method": "row groups", "rows": 9000, "row_groups": 90, "drawn_row_groups": 20})
        'no error is given: the images come from 20 of 90 row groups, so that they are not independent'
    """
    if record.get("method") != "row groups" or record["drawn_row_groups"] == record["row_groups"]:
        return None
    return (
        f"no error is given: the images come from {record['drawn_row_groups']} of {record['row_groups']} "
        "row groups, so that they are not independent"
    )


@dataclass(frozen=True)
class Permuted:
    """Items of a sequence in the order of row numbers, each looked up when it is its turn.

    Attributes:
        items: The sequence.
        numbers: The order.
        function: What is made of an item.
    """

    items: Indexed[Any]
    numbers: NDArray[np.int64]
    function: Callable[[Any], Any] = lambda item: item

    def __iter__(self) -> Iterator[Any]:
        return (self.function(self.items[int(number)]) for number in self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Ordered(Generic[T]):
    """Positions in an order of row numbers, which stand for the examples until they are asked for."""

    items: Indexed[T]
    numbers: NDArray[np.int64]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.numbers)))

    def __len__(self) -> int:
        return len(self.numbers)

    def example(self, position: int) -> T:
        """The example at a position."""
        return self.items[int(self.numbers[position])]


@dataclass(frozen=True)
class Mapped:
    """What a function makes of the items of something that can be iterated over again."""

    function: Callable[[Any], Any]
    items: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        return map(self.function, self.items)


class Beginning:
    """A random order of what can only be read from its beginning on.

    Up to ``limit`` bytes are held. A stream that ends before is drawn from uniformly, as if its length had been
    known; of a longer one each further item takes the place of a random one, which is used.

    Args:
        items: The stream; it can be iterated over again, and gives the same order.
        seed: Of the order.
        size: Bytes that an item takes.
        metadata: Is told how far the stream was read, as ``draw``, and whether that was all, as ``shuffled``.
        limit: Bytes to hold.
    """

    def __init__(
        self,
        items: Iterable[Any],
        seed: int,
        size: Callable[[Any], int],
        metadata: dict[str, Any],
        limit: int | None = None,
    ) -> None:
        self.items = items
        self._seed = seed
        self._size = size
        self._metadata = metadata
        self._limit = STREAM_LIMIT if limit is None else limit

    def __iter__(self) -> Iterator[Any]:
        held: list[Any] = []
        stream, size = iter(self.items), 0
        for item in stream:
            held.append(item)
            size += self._size(item)
            if size > self._limit:
                return self._exchanged(held, stream)
        self._metadata |= {"shuffled": True, "draw": {"method": "uniform", "rows": len(held)}}
        return iter(Permuted(held, uniform(len(held), self._seed)))

    def _exchanged(self, held: list[Any], stream: Iterator[Any]) -> Iterator[Any]:
        generator = np.random.default_rng(self._seed)
        record: dict[str, Any] = {"method": "beginning", "reached": len(held), "ended": False}
        self._metadata |= {"shuffled": False, "draw": record}
        for item in stream:
            record["reached"] += 1
            place = int(generator.integers(len(held)))
            yield held[place]
            held[place] = item
        record["ended"] = True
        yield from Permuted(held, generator.permutation(len(held)))
