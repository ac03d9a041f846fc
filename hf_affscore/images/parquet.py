"""Rows of Parquet files, read by number: row group by row group, a few rows at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet

from hf_affscore.errors import warn
from hf_affscore.images.draw import Block
from hf_affscore.images.files import opened
from hf_affscore.sources import POINTER, file_name, refuse_pointer

if TYPE_CHECKING:
    import datasets

#: Rows that are decoded at once, bytes of one local read, and bytes of one remote request.
ROWS = 16
READ_AHEAD = 1 << 20
REQUEST = 8 << 20

#: Footers that are read in parallel.
FOOTERS = 32


@dataclass(frozen=True)
class _Group:
    """A row group, or the part of it that belongs to the split."""

    file: int
    number: int
    first: int
    rows: int


@dataclass(frozen=True)
class ParquetRows:
    """The rows of some Parquet files, in the order of the files.

    Attributes:
        files: Paths or addresses.
        features: The columns and their ``datasets`` types.
        token: Access token for the Hub.
        column: The only column to read; None for all.
        split: Name of the split.
    """

    files: tuple[str, ...]
    features: datasets.Features
    token: str | bool | None
    split: str
    column: str | None = None
    _footers: tuple[pyarrow.parquet.FileMetaData, ...] = ()
    _groups: tuple[_Group, ...] = ()

    @classmethod
    def open(
        cls, files: Sequence[str], declared: datasets.Features | None, token: str | bool | None, split: str
    ) -> ParquetRows:
        """Read the footers of some files.

        Args:
            files: Paths or addresses.
            declared: The columns, if the data set's card declares them.
            token: Access token for the Hub.
            split: Name of the split.

        Raises:
            DatasetError: A file is a Git LFS pointer.
            pyarrow.ArrowInvalid: A file is damaged.
        """
        with ThreadPool(min(FOOTERS, len(files))) as threads:
            footers = threads.map(functools.partial(_footer, token=token), files, chunksize=1)
        groups = [
            _Group(file, number, 0, footer.row_group(number).num_rows)
            for file, footer in enumerate(footers)
            for number in range(footer.num_row_groups)
        ]
        features = declared or _columns_of(footers)
        return cls(tuple(files), features, token, split, None, tuple(footers), tuple(groups))

    def __len__(self) -> int:
        return sum(group.rows for group in self._groups)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The examples in order, from the first, with all columns."""
        for block in range(len(self._groups)):
            yield from (self.example(batch) for _, batch in self.read(block, range(self._groups[block].rows)))

    def select_columns(self, names: list[str]) -> ParquetRows:
        """The rows with one column, without files that lack it; a warning counts these."""
        import datasets

        [name] = names
        lacking = {number for number, footer in enumerate(self._footers) if name not in _names_in(footer)}
        if lacking:
            warn(
                f"{len(lacking)} of the {len(self.files)} Parquet files have no column {name} and are not used: "
                f"{', '.join(file_name(self.files[number]) for number in sorted(lacking)[:5])}."
            )
        groups = tuple(group for group in self._groups if group.file not in lacking)
        return replace(
            self, column=name, features=datasets.Features({name: self.features[name]}), _groups=groups
        )

    def cast_column(self, name: str, feature: Any) -> ParquetRows:
        """The same rows, with one column read as another feature."""
        import datasets

        return replace(self, features=datasets.Features({**self.features, name: feature}))

    def part(self, start: int, stop: int | None) -> ParquetRows:
        """Rows ``start`` to ``stop``."""
        groups, before = [], 0
        for group in self._groups:
            first = max(start - before, 0)
            last = group.rows if stop is None else min(stop - before, group.rows)
            before += group.rows
            if first < last:
                groups.append(replace(group, first=group.first + first, rows=last - first))
        return replace(self, _groups=tuple(groups))

    @functools.cached_property
    def blocks(self) -> list[Block]:
        """The row groups, with the size of the column in each."""
        return [Block(group.rows, self._bytes(group)) for group in self._groups]

    def name_of(self, block: int) -> str:
        """The file that contains a row group."""
        return file_name(self.files[self._groups[block].file])

    def _bytes(self, group: _Group) -> int:
        stored = self._footers[group.file].row_group(group.number)
        chunks = map(stored.column, range(stored.num_columns))
        return sum(c.total_compressed_size for c in chunks if c.path_in_schema.split(".")[0] == self.column)

    def read(self, block: int, numbers: Sequence[int]) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
        """Read some rows of a row group, in ascending order, each as a batch of one row; stop after the last.

        Raises:
            pyarrow.ArrowException: The file is damaged.
        """
        group = self._groups[block]
        path = self.files[group.file]
        columns = [self.column] if self.column else None
        wanted = iter(numbers)
        number = next(wanted, None)
        remote = "://" in path
        with (
            opened(path, self.token) as raw,
            pyarrow.parquet.ParquetFile(
                raw,
                metadata=self._footers[group.file],
                buffer_size=REQUEST if remote else READ_AHEAD,
                pre_buffer=False,
            ) as file,
        ):
            end = -group.first
            for batch in file.iter_batches(ROWS, [group.number], columns, use_threads=False):
                start, end = end, end + batch.num_rows
                while number is not None and number < end:
                    yield number, self._cast(batch.slice(number - start, 1))
                    number = next(wanted, None)
                if number is None:
                    return

    def _cast(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
        from datasets.table import table_cast

        table = table_cast(pyarrow.Table.from_batches([batch]), self.features.arrow_schema)
        return table.combine_chunks().to_batches()[0]

    def example(self, batch: pyarrow.RecordBatch) -> dict[str, Any]:
        """The example in a batch of one row, as ``datasets`` gives it."""
        found: dict[str, Any] = self.features.decode_example(batch.to_pylist()[0])
        return found


def _names_in(footer: pyarrow.parquet.FileMetaData) -> tuple[str, ...]:
    """The columns of a file, without the parts of nested ones."""
    columns = (footer.schema.column(number).path for number in range(len(footer.schema)))
    return tuple(dict.fromkeys(path.split(".")[0] for path in columns))


def _columns_of(footers: Sequence[pyarrow.parquet.FileMetaData]) -> datasets.Features:
    """The columns of all files; files may lack some."""
    import datasets

    found: dict[str, Any] = {}
    for footer in {_names_in(footer): footer for footer in reversed(footers)}.values():
        found = {**datasets.Features.from_arrow_schema(footer.schema.to_arrow_schema()), **found}
    return datasets.Features(found)


def _footer(path: str, token: str | bool | None) -> pyarrow.parquet.FileMetaData:
    return _footer_at_commit(path, token) if "@" in path and "://" in path else _read_footer(path, token)


@functools.lru_cache(maxsize=4096)
def _footer_at_commit(path: str, token: str | bool | None) -> pyarrow.parquet.FileMetaData:
    """Cached for later analyses: the content of a commit does not change."""
    return _read_footer(path, token)


def _read_footer(path: str, token: str | bool | None) -> pyarrow.parquet.FileMetaData:
    with opened(path, token) as file:
        try:
            return pyarrow.parquet.read_metadata(file)
        except pyarrow.ArrowInvalid as error:
            file.seek(0)
            refuse_pointer(path, file.read(POINTER))
            said = str(error).splitlines()[0].rstrip(".")
            raise pyarrow.ArrowInvalid(f"{file_name(path)}: {said}") from error
