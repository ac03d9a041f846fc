"""Draw the images of a split: row numbers in an order that depends only on the seed.

The methods (``draw["method"]`` in the metadata of a signature):

- ``"uniform"``: the first rows of a random permutation of the split. Every set of rows of one size is equally
  likely: the number of images of a class is hypergeometric, however the rows are sorted.
- ``"row groups"``: row groups of Parquet files in random order, up to :data:`READ_LIMIT` bytes, and a uniform draw
  from their rows. If row groups have one size, every image is equally likely, but images of one row group are drawn
  together more often than by chance: if rows are sorted, the variance is that of a smaller sample.
- ``"beginning"``: a uniform draw from the part of a stream that was read. It says nothing about the rest.

The uniform draw is used whenever the number of rows is known and reading them costs at most :data:`READ_LIMIT`
bytes. ``"in order"`` is not a draw: the first images are used. The draw does not depend on processes, batch sizes
or shards, and a uniform draw gives the same row numbers for every format of the same images.
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

#: Maximum bytes to read for a draw, and to keep in a temporary file.
READ_LIMIT = 2_500_000_000

#: Further images that are kept when they are read anyway, to replace damaged ones.
SPARE = 64


class Indexed(Protocol[T_co]):
    """A source of items by number."""

    def __getitem__(self, number: int, /) -> T_co: ...


@dataclass(frozen=True)
class Block:
    """Rows that can only be read together.

    Attributes:
        rows: Number of rows.
        size: Bytes to read for them.
    """

    rows: int
    size: int


@dataclass(frozen=True)
class Order:
    """Row numbers in the order of use.

    Attributes:
        numbers: All rows of the split, shape ``(rows,)``.
        starts: Positions at which a new set of blocks begins; two sets have no block in common.
        wanted: Number of positions, from the first, that are likely to be used.
        record: Description of the draw, for the metadata of a signature.
    """

    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    wanted: int
    record: dict[str, Any]


def images_wanted(options: Options) -> int | None:
    """Number of images that an analysis uses, without damaged ones; None for all."""
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
    """The order of rows in blocks; uniform if that reads at most :data:`READ_LIMIT` bytes."""
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
    """Consecutive blocks in sets of at most ``limit`` bytes or one block, and the first row of each set."""
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
    """A sentence about a draw that did not reach the end of a stream; None for any other draw.

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
        f"The images were drawn from the first {record['reached']} {of}, which can only be read from its "
        "beginning: later images had no chance. To draw from all, pass Parquet files, a folder, or local archives."
    )


def dependence_of(record: Mapping[str, Any]) -> str | None:
    """The reason why images of a draw are not independent of each other; None if they are.

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
    """Items of a sequence in the order of row numbers, looked up on demand.

    Attributes:
        items: The sequence.
        numbers: The order.
        function: Function applied to each item.
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
    """Positions in an order of row numbers; examples are read on demand."""

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
    """A function applied to the items of a re-iterable source."""

    function: Callable[[Any], Any]
    items: Iterable[Any]

    def __iter__(self) -> Iterator[Any]:
        return map(self.function, self.items)
