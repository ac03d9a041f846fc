"""The splits of a named data set; a split is opened when it is chosen."""

from __future__ import annotations

import functools
import glob
import itertools
import json
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from hf_affscore.errors import AffscoreWarning, warn
from hf_affscore.hub import client
from hf_affscore.images.columns import image_column
from hf_affscore.images.fields import EmptyArchive
from hf_affscore.images.files import opened
from hf_affscore.images.forms import open_archives, open_files
from hf_affscore.images.layouts import Layout, files_below, form_of, is_hidden, layout_of, warn_of_left
from hf_affscore.images.listed import listed, lists_in
from hf_affscore.images.parquet import ParquetRows
from hf_affscore.images.undecoded import encoded
from hf_affscore.images.values import NoImages, ending
from hf_affscore.options import Options
from hf_affscore.sources import Source, in_bucket

if TYPE_CHECKING:
    import datasets

    from hf_affscore.images.forms import Data

    Splits: TypeAlias = dict[str, Callable[[], Data]]


def splits_on_the_hub(source: Source, options: Options) -> Splits:
    """The splits of a repository or bucket, or of some files of it, at the commit of ``source``.

    Image files are found as in a local folder; everything else is left to ``datasets``.
    """
    [pattern] = source.files or ("**",)
    where: dict[str, Any] = {"revision": source.commit, "token": options.token}
    if source.files:
        where["data_files"] = [pattern]
    if not pattern.endswith("**"):
        return _built(source.location, options, where)
    inside = pattern.removesuffix("**").rstrip("/")
    root = f"{source.root}/{inside}".rstrip("/")
    names = _names_on_the_hub(source, inside, options.token)
    layout = _layout_in(names, root, options)
    if layout is None or layout.form != "image":
        return _built(source.location, options, where, names, root)
    return _splits_of(layout, root, options)


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
    root = os.path.abspath(folder)
    names = sorted(files_below(root))
    layout = _layout_in(names, root, options)
    if layout is None:
        return _built(str(folder), options, {}, names, root)
    return _splits_of(layout, root, options)


def _names_on_the_hub(source: Source, inside: str, token: str | bool | None) -> list[str]:
    """The names of the files in a folder of a repository or bucket that are not hidden, relative to the folder."""
    api = client(token)
    entries: Iterable[Any]
    if source.commit is None:
        bucket, inside = in_bucket(source.location)
        entries = api.list_bucket_tree(bucket, inside or None, recursive=True)
    else:
        entries = api.list_repo_tree(
            source.location, inside or None, recursive=True, revision=source.commit, repo_type="dataset"
        )
    start = len(inside) + 1 if inside else 0
    names = (entry.path[start:] for entry in entries if hasattr(entry, "size"))
    return sorted(name for name in names if not any(map(is_hidden, name.split("/"))))


def _layout_in(names: list[str], root: str, options: Options) -> Layout | None:
    """The layout of a folder or repository; None if it is left to ``datasets``.

    Those are: configurations in the card, lists with several images in a row, and more tables of text (CSV, JSON)
    than images.
    """
    read = functools.partial(_opened_in, root, options.token)
    if options.dataset_config is not None or _says_configurations(names, read):
        return None
    found = listed(names, read, root) if lists_in(names) else names
    layout = None if found is None else layout_of(found)
    if found is None or layout is None or (layout.form == "image" and _text_tables(names) > layout.total):
        return None
    if layout.form == "image" or "://" in root:
        return layout
    images = layout_of(found, images=True)
    if (
        images is None
        or images.form != "image"
        or options.image_column
        or _holds_images(layout, root, options)
    ):
        return layout
    warn(f"The tables and archives in {root} hold no images: the {images.total} image files are used.")
    return replace(images, unused=[name for name in images.unused if form_of(name) == "image"])


def _opened_in(root: str, token: str | bool | None, name: str) -> BinaryIO:
    return opened(f"{root}/{name}", token, whole=True)


def _says_configurations(names: Collection[str], read: Callable[[str], BinaryIO]) -> bool:
    if "README.md" not in names:
        return False
    with read("README.md") as card:
        return b"\nconfigs:" in card.read()


def _text_tables(names: Collection[str]) -> int:
    """The number of CSV and JSON files that do not describe a single image."""
    images = {_stem(name) for name in names if form_of(name) == "image"}
    tables = (name for name in names if ending(name) in ("csv", "json", "jsonl"))
    return sum(_stem(name) not in images for name in tables)


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _holds_images(layout: Layout, root: str, options: Options) -> bool:
    """Whether the first file of tables or archives holds images."""
    split, names = next(iter(layout.splits.items()))
    try:
        data = open_files(layout.form, [f"{root}/{names[0]}"], split, options.token)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AffscoreWarning)
            image_column(encoded(data), options)
    except (NoImages, EmptyArchive):
        return False
    except Exception:  # it is damaged, or several columns hold images: said where it is read
        return True
    return True


def _splits_of(layout: Layout, root: str, options: Options) -> Splits:
    """The splits of a layout; what it leaves out is counted in a warning."""
    warn_of_left(root, layout.form, layout.total, layout.unused)
    return {
        split: functools.partial(
            open_files, layout.form, [f"{root}/{name}" for name in names], split, options.token
        )
        for split, names in layout.splits.items()
    }


def _saved(folder: Path) -> datasets.Dataset:
    """A data set of ``Dataset.save_to_disk``; also one without rows, which ``datasets`` cannot load."""
    import datasets

    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if not state["_data_files"]:
        return datasets.Dataset.from_dict({})
    found: datasets.Dataset = datasets.load_from_disk(str(folder))
    return found


def _of_files(paths: Sequence[str], options: Options) -> Data:
    """Some local files as one split, in the order given."""
    forms = {path: form_of(path) for path in paths}
    layout = layout_of(paths)
    if layout is None:
        with_patterns = [glob.escape(os.path.abspath(path)) for path in paths]
        [opened] = _built(str(Path(paths[0]).parent), options, {"data_files": with_patterns}).values()
        return opened()
    used = [path for path in paths if forms[path] == layout.form]
    unused = [path for path in paths if forms[path] not in (layout.form, None)]
    warn_of_left("the list of files", layout.form, len(used), unused)
    return open_files(layout.form, used, "train", options.token)


def _built(
    path: str, options: Options, where: dict[str, Any], names: Collection[str] = (), root: str = ""
) -> Splits:
    """The splits that ``datasets`` finds by configurations, patterns and formats.

    Parquet files and archives are read by this package, which draws rows by number in bounded memory. A
    configuration in the card that filters rows is left to ``datasets``.

    Args:
        path: A folder or repository.
        options: Configuration and token.
        where: Arguments of ``load_dataset_builder``.
        names: Names of all files, relative to ``root``; a warning counts those that are not used.
        root: The folder or address that contains them.
    """
    import datasets
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
    from datasets.packaged_modules.parquet.parquet import Parquet
    from datasets.packaged_modules.webdataset.webdataset import WebDataset

    builder = datasets.load_dataset_builder(path, options.dataset_config, **where)
    files = builder.config.data_files or {}
    if len(builder.builder_configs) < 2:  # else the others may use them
        read = {
            os.path.realpath(file) if os.path.isabs(file) else file
            for file in itertools.chain.from_iterable(files.values())
        }
        where_of = {name: f"{root}/{name}" for name in names if form_of(name) is not None}
        unused = [
            name for name, file in where_of.items() if file not in read and os.path.realpath(file) not in read
        ]
        form = "image" if isinstance(builder, ImageFolder) else "table"
        warn_of_left(root, form, len(where_of) - len(unused), unused)
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
            str(split): functools.partial(open_archives, paths, str(split), options.token)
            for split, paths in files.items()
        }
    streams = builder.as_streaming_dataset()
    return {str(split): functools.partial(streams.__getitem__, split) for split in streams}
