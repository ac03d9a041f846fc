"""Open a source of images as a stream: Hub data set, folder, files, ``datasets`` object, iterable, or noise."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_affscore.errors import AffscoreError, DatasetError, InputError, shown_cause
from hf_affscore.hub import failures_named
from hf_affscore.images.beginning import STREAM_LIMIT, Beginning
from hf_affscore.images.clips import decode_clip, open_clips
from hf_affscore.images.columns import ALONE, ImageColumn, image_column
from hf_affscore.images.decoding import decode, file_of
from hf_affscore.images.draw import Mapped, Order, Ordered, Permuted, draw_from_blocks, draw_rows
from hf_affscore.images.held import HeldRows
from hf_affscore.images.indexed import (
    Examples,
    Indexed,
    first_example,
    gives_examples,
    has_parts,
    is_indexed,
    length_of,
    row_of,
    without_loader,
    without_table,
)
from hf_affscore.images.parquet import ParquetRows
from hf_affscore.images.pixels import BY_IMAGE, Scale
from hf_affscore.images.ranges import with_one_range
from hf_affscore.images.selection import choose_split
from hf_affscore.images.splits import local_splits, splits_on_the_hub
from hf_affscore.images.stream import ImageStream, said, size_of
from hf_affscore.images.tars import TarRows, TarStream
from hf_affscore.images.undecoded import encoded
from hf_affscore.options import Options
from hf_affscore.sources import Source, locate, locate_files

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from hf_affscore.images.decoding import Decoded
    from hf_affscore.images.forms import Data


def is_name(dataset: Any) -> TypeIs[str | Path | Sequence[str | Path]]:
    """Whether a data set is given by name: a Hub id, a path, or a list of paths."""
    if isinstance(dataset, list | tuple) and dataset:
        return all(isinstance(name, str | Path) for name in dataset)
    return isinstance(dataset, str | Path)


def locate_images(dataset: str | Path | Sequence[str | Path], options: Options) -> Source:
    """Find a data set by name and pin its state.

    Raises:
        DatasetError: The folder or repository does not exist or is not accessible.
    """
    if dataset == "noise":
        return Source("noise", "noise", None, "noise")
    if not isinstance(dataset, str | Path):
        options.refuse(("dataset_revision",), "local files have none")
        return locate_files(dataset)
    return locate("dataset", str(dataset), revision=options.dataset_revision, token=options.token)


def open_images(
    dataset: Source | Iterable[Any],
    options: Options,
    noise_shape: Callable[[], tuple[int, ...]],
    clip_length: int | None = None,
) -> ImageStream:
    """The images of ``dataset`` as a stream.

    Args:
        dataset: The result of :func:`locate_images`, a ``datasets`` object, or an object that gives images by
            number or one after the other (:mod:`hf_affscore.images.indexed`): PIL images, pixels, or ready
            ``(3, H, W)`` tensors, alone or in tuples or mappings.
        options: Split, column, order and revision.
        noise_shape: Shape of one model input ``(C, H, W)``, called only if ``dataset`` is ``"noise"``.
        clip_length: Frames of a clip, for a video model; None for images.

    Raises:
        DatasetError: Not found, without images, or without a unique image column.
        InputError: ``dataset`` has an unsupported type.
    """
    if is_name(dataset):
        dataset = locate_images(dataset, options)
    if isinstance(dataset, Source) and dataset.location == "noise":
        options.refuse(("split", "dataset_config", "image_column", "dataset_revision"), "noise has none")
        return _noise(noise_shape(), options)
    clips = None if clip_length is None else open_clips(dataset, options, clip_length)
    return with_one_range(clips or _opened(dataset, options, clip_length), options)


def _opened(dataset: Source | Iterable[Any], options: Options, frames: int | None) -> ImageStream:
    import datasets

    if isinstance(dataset, Source):
        return (_on_the_hub if dataset.on_the_hub else _local)(dataset, options, frames)
    options.refuse(("dataset_config", "dataset_revision"), "the data set is passed as an object")
    with _explained("The data set could not be read"):
        dataset = without_table(dataset)
    if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
        with _explained("The data set could not be read"):
            splits = {name: functools.partial(dataset.__getitem__, name) for name in dataset}
            return _from_data(choose_split(splits, options, "The data set"), {"id": None}, options, frames)
    if isinstance(dataset, datasets.Dataset | datasets.IterableDataset):
        if options.split is not None:
            raise InputError(
                f"split is {options.split!r}, but a {type(dataset).__name__} is one split already. "
                "Choose it before, or pass the DatasetDict."
            )
        with _explained("The data set could not be read"):
            data = encoded(dataset, options.image_column)
            return _from_data(data, {"id": getattr(dataset.info, "dataset_name", None)}, options, frames)
    if gives_examples(dataset):
        options.refuse(("split",), f"a {type(dataset).__name__} of images has none")
        with _explained("The data set could not be read"):
            return _from_object(dataset, options, frames)
    raise InputError(
        f"dataset is a {type(dataset).__name__}; expected a Hub id, a local folder, a datasets.Dataset, a "
        'torch Dataset, an iterable of PIL images or (3, H, W) tensors, or "noise".'
    )


def _noise(shape: tuple[int, ...], options: Options) -> ImageStream:
    """Standard normal pixels, taken as normalised; image ``i`` depends only on the seed and ``i``."""
    import torch

    def draw(index: int) -> torch.Tensor:
        generator = np.random.default_rng([options.seed, index])
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))

    count = options.max_images if options.num_samples == "all" else options.num_samples
    if count is None:
        raise InputError(
            "Noise has no end: with num_samples='all', set the number of images with max_images."
        )
    return ImageStream(range(count), draw, {"id": "noise", "shape": list(shape)})


def _from_object(data: Any, options: Options, frames: int | None) -> ImageStream:
    """Images as an object gives them: by number if it can, else from its beginning."""
    data = without_loader(data)
    metadata: dict[str, Any] = {"id": None, "type": type(data).__name__}
    if is_indexed(data):
        if has_parts(first_example(data)):
            return _from_data(Indexed(data), metadata, options, frames)
        options.refuse(("image_column",), f"a {type(data).__name__} of images has none")
        order = draw_rows(len(data), options)
        drawn = Permuted(Indexed(data), order.numbers, ALONE.item_of)
        return ImageStream(drawn, decode, metadata | _drawn(order), numbers=order.numbers)
    examples, rows = Examples(data), length_of(data)
    column = ALONE
    if has_parts(examples.first):
        column = image_column(examples.rows(), options, clips=frames is not None)
        metadata["image_column"] = column.path
    else:
        options.refuse(("image_column",), f"a {type(data).__name__} of images has none")
    images = Mapped(lambda example: column.item_of(row_of(example)), examples)
    items, numbers = _from_the_beginning(images, metadata, options, rows)
    return ImageStream(items, _decoder(frames), metadata, numbers=numbers)


def _from_the_beginning(
    items: Iterable[Any], metadata: dict[str, Any], options: Options, rows: int | None = None
) -> tuple[Iterable[Any], array[int] | None]:
    """A stream in random order, as far as memory allows, and its row numbers; the draw goes into ``metadata``."""
    metadata |= {"shuffled": False, "draw": {"method": "in order"}}
    if not options.shuffle:
        return items, None
    drawn = Beginning(items, options.seed, size_of, metadata, rows=rows)
    return drawn, drawn.numbers


def _drawn(order: Order) -> dict[str, Any]:
    return {"shuffled": order.record["method"] == "uniform", "draw": order.record}


def _on_the_hub(source: Source, options: Options, frames: int | None) -> ImageStream:
    """A Hub data set, read at one pinned commit."""
    name = source.location
    where = {"id": source.name, "config": options.dataset_config, "revision": source.commit}
    with (
        _explained(f"Data set {name!r} could not be opened"),
        failures_named("dataset", name, options.dataset_revision),
    ):
        splits = splits_on_the_hub(source, options)
        data = choose_split(splits, options, f"Data set {name!r}")
        return _from_data(data, where, options, frames, source.root)


def _local(source: Source, options: Options, frames: int | None) -> ImageStream:
    """A folder of images, Parquet files or archives, a folder of ``Dataset.save_to_disk``, or single files."""
    where = {"id": source.name, "config": options.dataset_config, "revision": None}
    what = f"the files {source.name}" if source.files else f"the folder {source.location}"
    with _explained(f"No images could be read from {what}", _pattern_hint(Path(source.location))):
        splits = local_splits(source, options)
        data = choose_split(splits, options, what[0].upper() + what[1:])
        folder = str(Path(source.files[0]).parent) if source.files else source.location
        return _from_data(data, where, options, frames, folder)


@contextmanager
def _explained(failure: str, advice: str = "") -> Iterator[None]:
    """Turn any error of a library about the files of a data set into one sentence."""
    try:
        yield
    except AffscoreError:
        raise
    except Exception as error:  # files may hold anything
        raise DatasetError(f"{failure}: {said(error)}{advice}") from shown_cause(error)


def _pattern_hint(folder: Path) -> str:
    odd = sorted(set("[]*?\n") & set(str(folder)))
    return f" Its name holds {odd}, which datasets reads as a pattern: rename it." if odd else ""


def _from_data(
    data: Data, where: dict[str, Any], options: Options, frames: int | None, base: str | None = None
) -> ImageStream:
    """The encoded images or clips of one column of a split in the order of the draw.

    Args:
        data: The split.
        where: Its place, for the metadata.
        options: Column and order.
        frames: Frames of a clip, for a video model.
        base: Where relative paths start from.
    """
    import datasets

    column = image_column(data, options, base, clips=frames is not None)
    decode_item = _decoder(frames)
    data = data.select_columns([column.name])
    split = str(data.split) if data.split is not None else None
    metadata = {**where, "split": split, "image_column": column.path}
    fetch_item = functools.partial(file_of, getattr(data, "_token_per_repo_id", {}), options.token)
    if isinstance(data, datasets.IterableDataset | TarStream):
        read = (
            data.shuffled(options.seed, STREAM_LIMIT)
            if isinstance(data, TarStream) and options.shuffle
            else data
        )
        items, numbers = _from_the_beginning(Mapped(column.item_of, read), metadata, options)
        if read is not data:
            numbers = None  # archives are in random order, and how many rows come before one is not known
        return ImageStream(items, decode_item, metadata, fetch_item, reopens=True, numbers=numbers)
    if isinstance(data, ParquetRows | TarRows):
        order = (
            draw_from_blocks(data.blocks, options)
            if isinstance(data, ParquetRows)
            else draw_rows(len(data), options)
        )
        held = HeldRows(data, order) if isinstance(data, ParquetRows) else Ordered(data, order.numbers)
        stream = _read_by_position(held, column, decode_item, fetch_item, metadata | _drawn(order))
        return replace(stream, numbers=order.numbers)
    order = draw_rows(len(data), options)
    drawn = Permuted(data, order.numbers, column.item_of)
    return ImageStream(drawn, decode_item, metadata | _drawn(order), fetch_item, numbers=order.numbers)


def _decoder(frames: int | None) -> Callable[..., Decoded]:
    """What decodes an item: to an image, or to a clip of so many frames."""
    return decode if frames is None else functools.partial(decode_clip, length=frames)


def _read_by_position(
    rows: HeldRows | Ordered[dict[str, Any]],
    column: ImageColumn,
    decoded: Callable[..., Decoded],
    fetch_item: Callable[[Any], Callable[[], Any] | None],
    metadata: dict[str, Any],
) -> ImageStream:
    """A stream of positions: a thread reads an example when it is needed."""

    def read(position: int) -> Any:
        item = column.item_of(rows.example(position))
        job = fetch_item(item)
        return job() if job else item

    def decode_item(item: Any, scale: Scale = BY_IMAGE) -> Decoded:
        return decoded(read(item) if isinstance(item, int) else item, scale)

    def job(item: Any) -> Callable[[], Any] | None:
        return functools.partial(read, item) if isinstance(item, int) else None

    return ImageStream(rows, decode_item, metadata, job)
