"""Find the image column of a data set, and turn its values into encoded images.

Images are columns that ``datasets`` declares as images, ready tensors, PIL images, encoded bytes with or without a
path, paths, addresses, arrays of pixels, or lists of these. The first item of a list is used; for a video model the
list is a clip, and videos are clips too. Declared columns take precedence over columns found from the first
examples.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hf_affscore.errors import DatasetError, warn
from hf_affscore.images.annotations import names_annotation
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.values import (
    IMAGE_ENDINGS,
    Kind,
    NoImages,
    described,
    ending,
    first_of,
    is_inside_list,
    is_missing,
    kind_of,
    leaves,
)
from hf_affscore.options import Options

if TYPE_CHECKING:
    import datasets

#: Preferred names, in order, if several columns hold images of the same kind.
PREFERRED = (
    *("pixel_values", "image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo"),
    *("images", "imgs", "pixels", "image_url", "image_path", "file_name", "0"),
)

#: Examples to inspect if columns are not declared, and if columns are empty in the first of them.
LOOKED_AT = 16
SEARCHED = 1000


class Examples(Protocol):
    """A source of rows as dictionaries, such as a ``datasets`` object."""

    @property
    def features(self) -> datasets.Features | None:
        """The declared columns; None if they are not known before the first example."""

    def __iter__(self) -> Iterator[Any]:
        """The examples, from the first: dictionaries, or :class:`Undecodable`."""


@dataclass(frozen=True)
class ImageColumn:
    """The column that holds the images.

    Attributes:
        path: Its name, as in the metadata of a signature; nested columns are joined with dots.
        keys: The column of the table, followed by the keys of the nested fields.
        listed: Whether its values are lists, whose first item is the image.
        mode: The declared mode of its images.
        base: The base folder or address of relative paths; None for the working directory.
        frames: Whether its values are lists that are clips.
    """

    path: str
    keys: tuple[str, ...]
    listed: bool = False
    mode: str | None = None
    base: str | None = None
    frames: bool = False

    @property
    def name(self) -> str:
        """The column of the table to read."""
        return self.keys[0]

    def value_of(self, example: dict[str, Any]) -> Any:
        """The value of an example in this column.

        Raises:
            KeyError, TypeError: The example has no such column.
        """
        value: Any = example
        for key in self.keys:
            if self.frames and isinstance(value, list):
                value = [part[key] for part in value]
                continue
            value = first_of(value) if isinstance(value, list) else value
            value = None if value is None else value[key]
        return first_of(value) if self.listed else value

    def item_of(self, example: dict[str, Any] | Undecodable) -> Any:
        """The encoded image of one example, as input of :func:`hf_affscore.images.decoding.decode`, or its clip."""
        if isinstance(example, Undecodable):
            return example
        value = self.value_of(example)
        return list(map(self._encoded, value)) if self.frames and value is not None else self._encoded(value)

    def _encoded(self, value: Any) -> Any:
        import torch

        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            return value.numpy(force=True)
        if isinstance(value, str | Path):
            value = {"bytes": None, "path": str(value)}
        if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
            value = self._located(value)
        elif isinstance(value, bytes) and self.mode:
            value = {"bytes": value, "path": None}
        return {**value, "mode": self.mode} if self.mode and isinstance(value, dict) else value

    def _located(self, item: dict[str, Any]) -> dict[str, Any] | Undecodable:
        """An item that names a file, with its path made absolute.

        A remote data set may refer to its own files and to addresses, but not to files of this machine.
        """
        path, base = item["path"], self.base
        if base is None or (("://" in path) and not path.startswith("file:")):
            return item
        if not os.path.isabs(path):  # it may have been written on Windows
            path = path.replace("\\", "/")
        if "://" not in base:
            return {**item, "path": str(Path(base, path))}
        inside = posixpath.normpath(path)
        if inside.startswith(("/", "..", "file:")):
            return Undecodable(f"it names a file outside the data set ({posixpath.basename(path)})")
        return {**item, "path": f"{base}/{inside}"}


#: The column of examples that are images without other parts.
ALONE = ImageColumn("image", ("image",))


class _Candidate(NamedTuple):
    keys: tuple[str, ...]
    kind: Kind
    listed: bool = False
    mode: str | None = None

    @property
    def path(self) -> str:
        return ".".join(self.keys)


def image_column(
    data: Examples, options: Options, base: str | None = None, *, clips: bool = False
) -> ImageColumn:
    """The requested column, or the one that holds images.

    Args:
        data: The examples, with encoded images.
        options: ``image_column``.
        base: The base folder or address of relative paths in the data set.
        clips: Whether lists of images and videos are looked for first, and are clips.

    Raises:
        DatasetError: There is no such column, it holds no images, or several columns do and none is preferred.
    """
    names = None if data.features is None else list(data.features)
    found = list(_declared(data.features or {}, clips))
    if options.image_column is not None:
        chosen = next((c for c in found if c.path == options.image_column), None)
        chosen = chosen or _asked_for(options.image_column, data, names, clips)
    else:
        shown = {} if found else _first_values(data, clips)
        chosen = _preferred(
            found or list(_candidates(shown, clips)), names or list(dict.fromkeys(key[0] for key in shown))
        )
    if chosen.listed and clips:
        return ImageColumn(chosen.path, chosen.keys, False, chosen.mode, base, frames=True)
    first = itertools.islice(data, LOOKED_AT if len(chosen.keys) > 1 else 0)
    if chosen.listed or any(is_inside_list(example, chosen.keys) for example in first):
        warn(f"The column {chosen.path} holds lists of images: the first of each is used.")
    if chosen.kind is Kind.FILE and ending(chosen.path) in IMAGE_ENDINGS:
        warn(
            f"The table names no columns: its first line, {chosen.path}, is taken for the names, and that image is "
            "not used. Add a line with the names of the columns."
        )
    return ImageColumn(chosen.path, chosen.keys, chosen.listed, chosen.mode, base)


def _declared(
    feature: Any, clips: bool, keys: tuple[str, ...] = (), listed: bool = False
) -> Iterator[_Candidate]:
    """The columns declared as images, also nested and in lists, or as videos where clips are looked for."""
    import datasets

    if isinstance(feature, datasets.Image):
        yield _Candidate(keys, Kind.CLIP if listed and clips else Kind.IMAGE, listed, feature.mode)
    elif isinstance(feature, datasets.Video) and clips:
        yield _Candidate(keys, Kind.CLIP)
    elif isinstance(feature, dict):
        for name, part in feature.items():
            yield from _declared(part, clips, (*keys, name), listed and clips)
    elif isinstance(feature, datasets.List | datasets.LargeList):
        yield from _declared(feature.feature, clips, keys, True)


def _first_values(data: Examples, clips: bool) -> dict[tuple[str, ...], Any]:
    """The first value of each column that is not missing; None for a column without any in the examples.

    Further examples are read while no column holds images, or one that is still empty has a more usual name.
    """
    seen: dict[tuple[str, ...], Any] = {}
    for number, example in enumerate(itertools.islice(data, SEARCHED), 1):
        for keys, value in leaves({} if isinstance(example, Undecodable) else example):
            if kind_of(seen.setdefault(keys, None), keys[-1], clips=clips)[0] is Kind.NONE and not is_missing(
                value
            ):
                seen[keys] = value
        if number >= LOOKED_AT:
            ranks = [_rank(candidate.keys[-1]) for candidate in _candidates(seen, clips)]
            empty = [_rank(keys[-1]) for keys, value in seen.items() if value is None]
            if ranks and min(ranks) <= min(empty, default=len(PREFERRED)):
                break
    return seen


def _candidates(seen: dict[tuple[str, ...], Any], clips: bool) -> Iterator[_Candidate]:
    """The columns whose values are images."""
    for keys, value in seen.items():
        kind, listed = kind_of(value, keys[-1], clips=clips)
        if kind is not Kind.NONE:
            yield _Candidate(keys, kind, listed)


def _preferred(found: list[_Candidate], names: list[str]) -> _Candidate:
    """The candidate of the most likely kind and name.

    Raises:
        DatasetError: There are no candidates, or several are equally likely.
    """
    columns = ", ".join(names) or "none"
    if not found:
        texts = "Files of text are there, whose lines name no images. " if names == ["text"] else ""
        raise NoImages(
            f"{texts}No column holds images; the columns are {columns}. Expected encoded images, paths, addresses "
            "or arrays of pixels. If one holds them, name it with image_column (--image-column)."
        )
    likeliest = min(candidate.kind for candidate in found)
    found = [candidate for candidate in found if candidate.kind is likeliest]
    ranked = sorted(found, key=lambda candidate: _rank(candidate.keys[-1]))
    if len(found) == 1:
        return found[0]
    several = f"Several columns hold images: {', '.join(candidate.path for candidate in found)}."
    if _rank(ranked[0].keys[-1]) == _rank(ranked[1].keys[-1]):
        raise DatasetError(f"{several} Choose one with image_column (--image-column).")
    warn(f"{several} {ranked[0].path} is used; image_column (--image-column) chooses another.")
    return ranked[0]


def _rank(name: str) -> int:
    """The place of a name among :data:`PREFERRED`; others follow, and names of annotations are last."""
    if name.lower() in PREFERRED:
        return PREFERRED.index(name.lower())
    return len(PREFERRED) + names_annotation(name)


def _asked_for(path: str, data: Examples, names: list[str] | None, clips: bool) -> _Candidate:
    """The requested column, not declared as images, if its values are images.

    Raises:
        DatasetError: There is no such column, or its values are not images.
    """
    keys: tuple[str, ...] = (path,)
    looked_at, first = 0, None
    for example in itertools.islice(data, SEARCHED):
        if isinstance(example, Undecodable):
            continue
        if not looked_at:
            names = names if names is not None else list(example)
            keys = (path,) if path in names else tuple(path.split("."))
        looked_at += 1
        try:
            value = ImageColumn(path, keys).value_of(example)
        except (KeyError, TypeError):
            columns = ", ".join(names or ()) or "none"
            raise DatasetError(f"There is no column {path!r}; the columns are {columns}.") from None
        if is_missing(value):
            continue
        kind, listed = kind_of(value, keys[-1], asked=True, clips=clips)
        if kind is not Kind.NONE:
            return _Candidate(keys, kind, listed)
        first = value if first is None else first
        if looked_at >= LOOKED_AT:
            break
    held = f"nothing in its first {looked_at} rows" if first is None else described(first)
    raise DatasetError(
        f"The column {path!r} holds {held}; expected encoded images, paths, addresses or arrays of pixels. "
        f"Choose another with image_column (--image-column): the columns are {', '.join(names or ())}."
    )
