"""The rows of one split, opened from files of one form: images, Parquet, Arrow, or tar archives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow

from hf_affscore.images.indexed import Indexed
from hf_affscore.images.parquet import ParquetRows
from hf_affscore.images.tars import TarRows, TarStream, is_compressed
from hf_affscore.images.transformed import Transformed
from hf_affscore.sources import POINTER, file_name, refuse_pointer

if TYPE_CHECKING:
    import datasets

    Data: TypeAlias = (
        datasets.Dataset
        | datasets.IterableDataset
        | ParquetRows
        | TarRows
        | TarStream
        | Transformed
        | Indexed
        | "ImageFiles"
    )


@dataclass(frozen=True)
class ImageFiles:
    """Image files.

    Attributes:
        paths: Paths or addresses, in order.
        split: Name of the split.
    """

    paths: tuple[str, ...]
    split: str = "train"

    @property
    def features(self) -> datasets.Features:
        """One column, ``image``."""
        import datasets

        return datasets.Features({"image": datasets.Image(decode=False)})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"image": {"path": self.paths[number], "bytes": None}}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def select_columns(self, names: list[str]) -> ImageFiles:
        """The same object, since there is only one column."""
        return self

    def cast_column(self, name: str, feature: Any) -> ImageFiles:
        """The same object, since its images are encoded."""
        return self

    def part(self, start: int, stop: int | None) -> ImageFiles:
        """Files ``start`` to ``stop``."""
        return replace(self, paths=self.paths[start:stop])


def open_files(form: str, paths: Sequence[str], split: str, token: str | bool | None) -> Data:
    """Open the files of a split.

    Args:
        form: As :func:`hf_affscore.images.layouts.form_of` gives it.
        paths: Paths or addresses.
        split: Name of the split.
        token: Access token for the Hub.

    Raises:
        DatasetError: A file is a Git LFS pointer.
        EmptyArchive: No archive holds an image.
        pyarrow.ArrowInvalid: A file is damaged.
    """
    if form == "parquet":
        return ParquetRows.open(paths, None, token, split)
    if form == "tar":
        return open_archives(paths, split, token)
    if form == "arrow":
        return _arrow(paths, split)
    if "://" not in paths[0]:
        with open(paths[0], "rb") as file:
            refuse_pointer(paths[0], file.read(POINTER))
    return ImageFiles(tuple(paths), split)


def open_archives(paths: Sequence[str], split: str, token: str | bool | None) -> TarRows | TarStream:
    """Archives as rows by number, or as a stream if they are remote or compressed."""
    if any("://" in path or is_compressed(path) for path in paths):
        return TarStream.open(paths, split, token)
    return TarRows.open(paths, split)


def _arrow(paths: Sequence[str], split: str) -> datasets.Dataset:
    """Local Arrow files of either format, mapped into memory."""
    import datasets

    found: datasets.Dataset = datasets.concatenate_datasets([_one_arrow(path) for path in paths])
    found.info.splits = None
    return datasets.Dataset(found.data, info=found.info, split=datasets.NamedSplit(split))


def _one_arrow(path: str) -> datasets.Dataset:
    import datasets

    with open(path, "rb") as file:
        start = file.read(POINTER)
    refuse_pointer(path, start)
    try:
        found: datasets.Dataset
        if not start.startswith(b"ARROW1"):  # the format of streams, in which datasets writes
            found = datasets.Dataset.from_file(path)
            return found
        table = pyarrow.ipc.open_file(pyarrow.memory_map(path)).read_all()
        found = datasets.Dataset(datasets.table.InMemoryTable(table))
        return found
    except (pyarrow.ArrowException, OSError) as error:
        raise pyarrow.ArrowInvalid(f"{file_name(path)}: {error}") from error
