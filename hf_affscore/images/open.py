"""Images from anywhere as one stream: Hub data set, folder, ``datasets`` object, iterable, or noise."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_affscore.errors import AffscoreError, DatasetError, InputError, shown_cause
from hf_affscore.hub import failures_named
from hf_affscore.images.columns import encoded, image_column
from hf_affscore.images.decoding import as_image, decode, fetch, is_remote
from hf_affscore.images.stream import ImageStream, said
from hf_affscore.options import Options
from hf_affscore.sources import Source, locate

if TYPE_CHECKING:
    import datasets

#: Encoded images held for shuffling a stream: of 2,048 images drawn, 2,304 are candidates. What mixes is that
#: shards are read in random order, ten at a time. Folders hold paths only, and are shuffled whole.
SHUFFLE_BUFFER = 256
SHUFFLE_BUFFER_OF_PATHS = 1_000_000

#: Where a data set has several splits and none is asked for, the first of these.
PREFERRED_SPLITS = ("test", "validation", "val", "valid", "train")


def locate_images(dataset: str | Path, options: Options) -> Source:
    """Find a data set by name and pin its state.

    Raises:
        DatasetError: There is no such folder or repository, or no access to it.
    """
    if dataset == "noise":
        return Source("noise", "noise", None, "noise")
    return locate("dataset", str(dataset), revision=options.dataset_revision, token=options.token)


def open_images(
    dataset: Source | Iterable[Any], options: Options, noise_shape: Callable[[], tuple[int, ...]]
) -> ImageStream:
    """The images of ``dataset`` as a stream.

    Args:
        dataset: What :func:`locate_images` found, a ``datasets`` object, or an iterable of PIL images or ready
            ``(3, H, W)`` tensors.
        options: Split, column, order and revision.
        noise_shape: Shape of one model input ``(C, H, W)``, asked for only when ``dataset`` is ``"noise"``.

    Raises:
        DatasetError: Not found, no images in it, or no single column of images.
        InputError: ``dataset`` is nothing that images come from.
    """
    import datasets

    if isinstance(dataset, Source):
        if dataset.location == "noise":
            options.refuse(("split", "dataset_config", "image_column", "dataset_revision"), "noise has none")
            return _noise(noise_shape(), options)
        return _local(dataset, options) if dataset.commit is None else _on_the_hub(dataset, options)
    options.refuse(("dataset_config", "dataset_revision"), "the data set is passed as an object")
    if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
        with _explained("The data set could not be read"):
            return _from_datasets(
                _choose_split(dict(dataset), options, "The data set"), {"id": None}, options
            )
    if isinstance(dataset, datasets.Dataset | datasets.IterableDataset):
        if options.split is not None:
            raise InputError(
                f"split is {options.split!r}, but a {type(dataset).__name__} is one split already. "
                "Choose it before, or pass the DatasetDict."
            )
        with _explained("The data set could not be read"):
            return _from_datasets(
                encoded(dataset), {"id": getattr(dataset.info, "dataset_name", None)}, options
            )
    if isinstance(dataset, Iterable) and not isinstance(dataset, bytes | dict):
        options.refuse(("split", "image_column"), f"a {type(dataset).__name__} of images has none")
        return _from_iterable(dataset, options)
    raise InputError(
        f"dataset is a {type(dataset).__name__}; expected a Hub id, a local folder, a datasets.Dataset, an "
        'iterable of PIL images or (3, H, W) tensors, or "noise".'
    )


def _noise(shape: tuple[int, ...], options: Options) -> ImageStream:
    """Standard normal pixels after normalisation; image ``i`` depends on the seed and ``i`` alone."""
    import torch

    def draw(index: int) -> torch.Tensor:
        generator = np.random.default_rng([options.seed, index])
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))

    count = options.max_images if options.num_samples == "all" else options.num_samples
    if count is None:
        raise InputError("Noise has no end: with num_samples='all', say how much of it by max_images.")
    return ImageStream(range(count), draw, {"id": "noise", "shape": list(shape)})


def _from_iterable(images: Iterable[Any], options: Options) -> ImageStream:
    """Images as they are. A sequence is permuted when shuffling; anything else is taken in its own order."""
    shuffled = options.shuffle and isinstance(images, Sequence)
    if shuffled:
        order = np.random.default_rng(options.seed).permutation(len(images))  # type: ignore[arg-type]
        items: Iterable[Any] = _Permuted(images, order)  # type: ignore[arg-type]
    else:
        items = images
    return ImageStream(items, as_image, {"id": None, "type": type(images).__name__, "shuffled": shuffled})


@dataclass(frozen=True)
class _Permuted:
    images: Sequence[Any]
    order: np.ndarray[Any, Any]

    def __iter__(self) -> Iterator[Any]:
        return (self.images[index] for index in self.order)


def _on_the_hub(source: Source, options: Options) -> ImageStream:
    """A Hub data set, streamed at one pinned commit."""
    from hf_affscore.images.parquet import open_streaming

    name = source.location
    where = {"id": name, "config": options.dataset_config, "revision": source.commit}
    with (
        _explained(f"Data set {name!r} could not be opened"),
        failures_named("dataset", name, options.dataset_revision),
    ):
        splits = open_streaming(name, options.dataset_config, revision=source.commit, token=options.token)
        return _from_datasets(_choose_split(splits, options, f"Data set {name!r}"), where, options)


def _local(source: Source, options: Options) -> ImageStream:
    """A folder of images or Parquet files, or one that ``Dataset.save_to_disk`` wrote."""
    import datasets

    from hf_affscore.images.parquet import open_streaming

    folder = Path(source.location)
    saved = (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()
    where = {"id": source.name, "config": options.dataset_config, "revision": None}
    with _explained(f"No images could be read from the folder {folder}", _pattern_hint(folder)):
        if saved:
            splits: Any = datasets.load_from_disk(str(folder))
            splits = {"all": splits} if isinstance(splits, datasets.Dataset) else splits
        else:
            splits = open_streaming(str(folder), options.dataset_config)
        return _from_datasets(_choose_split(splits, options, f"The folder {folder}"), where, options)


@contextmanager
def _explained(failure: str, advice: str = "") -> Iterator[None]:
    """Turn whatever the files of a data set make a library raise into one sentence."""
    try:
        yield
    except AffscoreError:
        raise
    except Exception as error:  # files may hold anything
        raise DatasetError(f"{failure}: {said(error)}{advice}") from shown_cause(error)


def _pattern_hint(folder: Path) -> str:
    odd = sorted(set("[]*?\n") & set(str(folder)))
    return f" Its name holds {odd}, which datasets reads as a pattern: rename it." if odd else ""


def _choose_split(splits: dict[str, Any], options: Options, what: str) -> Any:
    """One split, whole or the part of it that ``name[from:to]`` asks for."""
    names = [str(name) for name in splits]
    if not names:
        raise DatasetError(f"{what} has no split at all; expected at least one with images.")
    if options.split is None:
        return encoded(splits[next((name for name in PREFERRED_SPLITS if name in names), names[0])])
    selection = re.fullmatch(r"([^\[\]]+)(?:\[(\d*):(\d*)\])?", options.split)
    if selection is None:
        raise DatasetError(
            f"split is {options.split!r}; expected a name, or a part of a split by position: validation[100:600]."
        )
    name, start, stop = selection[1], int(selection[2] or 0), int(selection[3]) if selection[3] else None
    if name not in names:
        raise DatasetError(f"{what} has no split {name!r}; it has {', '.join(names)}.")
    return _part(encoded(splits[name]), start, stop)


def _part(data: Any, start: int, stop: int | None) -> Any:
    """Examples ``start`` to ``stop`` of a ``datasets`` object."""
    data = data.skip(start) if start else data
    return data if stop is None else data.take(max(stop - start, 0))


def _from_datasets(
    data: datasets.Dataset | datasets.IterableDataset, where: dict[str, Any], options: Options
) -> ImageStream:
    """One column of a ``datasets`` object whose images are encoded, in seeded order."""
    import datasets

    column = image_column(data, options)
    data = data.select_columns([column.name])
    order: dict[str, Any] = {"shuffled": options.shuffle}
    if options.shuffle and isinstance(data, datasets.Dataset):
        data = data.shuffle(seed=options.seed)
    elif options.shuffle:
        order["shuffle_buffer"] = (
            SHUFFLE_BUFFER_OF_PATHS if _holds_paths(data, column.name) else SHUFFLE_BUFFER
        )
        data = data.shuffle(seed=options.seed, buffer_size=order["shuffle_buffer"])
    split = str(data.split) if data.split is not None else None
    metadata = {**where, "split": split, "image_column": column.path, **order}
    # What somebody opened with datasets brings its own tokens.
    tokens: Mapping[str, str | bool | None] = getattr(data, "_token_per_repo_id", {})

    def fetch_example(example: dict[str, Any]) -> Callable[[], dict[str, Any]] | None:
        item = column.item_of(example)
        if not is_remote(item):
            return None
        theirs = (token for repo, token in tokens.items() if f"datasets/{repo}@" in item["path"])
        return functools.partial(_fetched, column.name, item, next(theirs, None) or options.token)

    return ImageStream(data, lambda example: decode(column.item_of(example)), metadata, fetch_example)


def _holds_paths(data: datasets.IterableDataset, column: str) -> bool:
    """Whether items are paths of files rather than their bytes, so that a large buffer costs nothing."""
    first = next(iter(data), None)
    item = first[column] if first else None
    return isinstance(item, dict) and item.get("bytes") is None


def _fetched(column: str, item: dict[str, Any], token: str | bool | None) -> dict[str, Any]:
    return {column: fetch(item, token)}
