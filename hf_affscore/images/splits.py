"""The splits of a named data set; a split is opened when it is chosen."""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_affscore.images.layouts import image_files, warn_of_images_beside, warn_of_unread
from hf_affscore.images.parquet import ParquetRows
from hf_affscore.images.tars import TarRows, TarStream
from hf_affscore.images.transformed import Transformed
from hf_affscore.images.values import IMAGE_ENDINGS, ending
from hf_affscore.options import Options
from hf_affscore.sources import POINTER, Source, refuse_pointer

if TYPE_CHECKING:
    import datasets

    Data: TypeAlias = (
        datasets.Dataset
        | datasets.IterableDataset
        | ParquetRows
        | TarRows
        | TarStream
        | Transformed
        | "ImageFiles"
    )
    Splits: TypeAlias = dict[str, Callable[[], Data]]


@dataclass(frozen=True)
class ImageFiles:
    """Local image files.

    Attributes:
        paths: The files, in order.
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


def splits_on_the_hub(source: Source, options: Options) -> Splits:
    """The splits of a repository, or of some files of it, at the commit of ``source``."""
    files = {"data_files": list(source.files)} if source.files else {}
    where = {"revision": source.commit, "token": options.token, **files}
    return _built(source.location, options, where)


def local_splits(source: Source, options: Options) -> Splits:
    """The splits of a folder, or of some files."""
    if source.files:
        return {"train": functools.partial(_of_files, source.files, options)}
    folder = Path(source.location)
    if (folder / "dataset_dict.json").exists():
        names = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        return {name: functools.partial(_saved, folder / name) for name in names}
    if (folder / "state.json").exists():
        return {"all": functools.partial(_saved, folder)}
    found = None if options.dataset_config else image_files(folder)
    if found is not None:
        return {split: functools.partial(_image_files, paths, split) for split, paths in found.items()}
    return _built(str(folder), options, {})


def _saved(folder: Path) -> datasets.Dataset:
    """A data set of ``Dataset.save_to_disk``; also one without rows, which ``datasets`` cannot load."""
    import datasets

    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if not state["_data_files"]:
        return datasets.Dataset.from_dict({})
    found: datasets.Dataset = datasets.load_from_disk(str(folder))
    return found


def _of_files(paths: Sequence[str], options: Options) -> Data:
    """Some local files as one split."""
    import datasets

    endings = {ending(path) for path in paths}
    if endings <= IMAGE_ENDINGS:
        return _image_files(paths)
    if endings == {"tar"}:
        return TarRows.open(paths, "train")
    if endings == {"parquet"}:
        return ParquetRows.open(paths, None, options.token, "train")
    if endings == {"arrow"}:
        return datasets.concatenate_datasets([datasets.Dataset.from_file(path) for path in paths])
    with_patterns = [glob.escape(os.path.abspath(path)) for path in paths]
    [opened] = _built(str(Path(paths[0]).parent), options, {"data_files": with_patterns}).values()
    return opened()


def _image_files(paths: Sequence[str], split: str = "train") -> ImageFiles:
    for path in paths[:1]:
        with open(path, "rb") as file:
            refuse_pointer(path, file.read(POINTER))
    return ImageFiles(tuple(paths), split)


def _built(path: str, options: Options, where: dict[str, Any]) -> Splits:
    """The splits that ``datasets`` finds by configurations, patterns and formats.

    Parquet files and archives are read by this package, which draws rows by number in bounded memory. A
    configuration in the card that filters rows is left to ``datasets``.
    """
    import datasets
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.packaged_modules.parquet.parquet import Parquet
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = datasets.load_dataset_builder(path, options.dataset_config, **where)
    files = builder.config.data_files or {}
    if os.path.isdir(path) and not where and not isinstance(builder, ImageFolder):
        warn_of_images_beside(path)
    if isinstance(builder, Parquet) and builder.config.filters is None:
        declared = builder.info.features
        if builder.config.columns and declared:
            declared = datasets.Features({name: declared[name] for name in builder.config.columns})
        return {
            str(split): functools.partial(ParquetRows.open, paths, declared, options.token, str(split))
            for split, paths in files.items()
        }
    if isinstance(builder, WebDataset):
        return {
            str(split): functools.partial(_archives, paths, str(split), options.token)
            for split, paths in files.items()
        }
    if isinstance(builder, ImageFolder) and os.path.isdir(path) and len(builder.builder_configs) < 2:
        warn_of_unread(path, itertools.chain.from_iterable(files.values()))
    streams = builder.as_streaming_dataset()
    return {str(split): functools.partial(streams.__getitem__, split) for split in streams}


def _archives(paths: Sequence[str], split: str, token: str | bool | None) -> TarRows | TarStream:
    if any("://" in path for path in paths):
        return TarStream.open(paths, split, token)
    return TarRows.open(paths, split)
