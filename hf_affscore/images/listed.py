"""Lists of the images of a folder: ``metadata.csv``, ``.jsonl`` or ``.parquet``, as in an ``imagefolder``.

A list covers the images of its folder and of the folders below. Images that it does not name are left out and
counted in a warning; images that no list covers are used. A list without file names (such as ``image_id,label``) or
one that cannot be read does not choose images: all are used, and a warning says so.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from hf_affscore.errors import warn
from hf_affscore.images.layouts import form_of, warn_of_unused
from hf_affscore.images.values import ending

if TYPE_CHECKING:
    import pyarrow

#: Names of lists, in lower case.
LISTS = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})


def lists_in(names: Collection[str]) -> list[str]:
    """The lists among the names of the files of a data set."""
    return [name for name in names if posixpath.basename(name).lower() in LISTS]


def listed(names: Sequence[str], opened: Callable[[str], BinaryIO], folder: str) -> list[str] | None:
    """The names of a data set's files without the lists and the images that they leave out.

    Listed images come first, in the order of the lists. A listed image that does not exist is included.

    Args:
        names: Names of all files, relative to the data set, with ``/``.
        opened: Opens a file by its name.
        folder: The data set, for warnings.

    Returns:
        The names; None if a list names several images in a row (``left_file_name``), which is left to ``datasets``.
    """
    lists = set(lists_in(names))
    covered: dict[str, list[str]] = {}  # the listed images by the folder that the list covers
    in_columns = False
    for name in sorted(lists):
        columns = _images_of(name, opened, folder)
        above = posixpath.dirname(name)
        inside = [
            posixpath.normpath(posixpath.join(above, image)) for image in itertools.chain(*columns.values())
        ]
        if set(inside).isdisjoint(names):
            if columns:
                _warn(f"{name} in {folder} names no file that is there.")
            continue
        in_columns |= columns.keys() != {"file_name"}
        covered.setdefault(above, []).extend(image for image in inside if _covers(above, image))
    first = dict.fromkeys(image for images in covered.values() for image in images)
    left = [name for name in names if name not in lists and name not in first]
    images = [name for name in left if form_of(name) == "image"]
    unused = {name for name in images if any(_covers(above, name) for above in covered)}
    warn_of_unused(folder, sorted(unused), len(images) + len(first))
    return None if in_columns else [*first, *(name for name in left if name not in unused)]


def _covers(above: str, name: str) -> bool:
    """Whether a folder, empty for the data set itself, contains a file."""
    return not name.startswith(("../", "/")) and (not above or name.startswith(f"{above}/"))


def _images_of(name: str, opened: Callable[[str], BinaryIO], folder: str) -> dict[str, list[str]]:
    """The images that a list names, by column; empty, with a warning, if it names none."""
    try:
        with opened(name) as file:
            table = _read(file, ending(name))
    except Exception as error:  # another library's parser, on any file
        _warn(f"{name} in {folder} could not be read: {' '.join(str(error).split())[:200].rstrip('.')}.")
        return {}
    columns = [column for column in table.column_names if re.search(r"(^|_)file_names?$", column)]
    if not columns:
        _warn(
            f"{name} in {folder} has no column file_name; its columns are {', '.join(table.column_names[:8])}."
        )
    return {column: list(_flat(table[column].to_pylist())) for column in columns}


def _flat(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        elif value is not None:
            yield str(value).replace("\\", "/")  # it may have been written on Windows


def _warn(what: str) -> None:
    warn(f"{what} All images that it covers are used.")


def _read(file: Any, kind: str) -> pyarrow.Table:
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    if kind == "csv":
        return pyarrow.csv.read_csv(file)
    return pyarrow.json.read_json(file) if kind == "jsonl" else pyarrow.parquet.read_table(file)
