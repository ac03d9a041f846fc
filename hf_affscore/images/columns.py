"""Which column of a data set holds the images, and how one of its values becomes one encoded image.

Images come as what ``datasets`` declares to be images, as ready tensors or PIL images, as encoded bytes with or
without a path, as paths and addresses, as arrays of pixels, or in lists, of which the first counts.
What is declared is taken before what the first examples show.
"""

from __future__ import annotations

import itertools
import posixpath
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hf_affscore.errors import AffscoreWarning, DatasetError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.transformed import ready
from hf_affscore.images.values import Kind, described, kind_of
from hf_affscore.options import Options

if TYPE_CHECKING:
    import datasets

#: Of several columns with images of one kind, the first of these is taken.
PREFERRED = (
    *("pixel_values", "image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo"),
    *("images", "imgs", "pixels", "image_url", "image_path", "file_name"),
)

#: Examples that are looked at, where columns do not say what they hold, or have nothing in the first.
LOOKED_AT = 16


class Examples(Protocol):
    """What a column is looked for in: a ``datasets`` object, or whatever else gives rows as dictionaries."""

    @property
    def features(self) -> datasets.Features | None:
        """The declared columns; None where they are not known before the first example."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The examples, from the first."""


@dataclass(frozen=True)
class ImageColumn:
    """The column that holds the images.

    Attributes:
        path: Its name, as in the metadata of a signature; with dots where it lies inside another.
        keys: The column of the table, and what to go through in it.
        listed: Whether its values are lists, of which the first is the image.
        mode: The mode that its images are declared to have.
        base: The folder or address that relative paths start from; None for the working directory.
    """

    path: str
    keys: tuple[str, ...]
    listed: bool = False
    mode: str | None = None
    base: str | None = None

    @property
    def name(self) -> str:
        """The column of the table that has to be read for it."""
        return self.keys[0]

    def value_of(self, example: dict[str, Any]) -> Any:
        """What an example has in this column.

        Raises:
            KeyError, TypeError: It has no such column.
        """
        value: Any = example
        for key in self.keys:
            value = _first(value) if isinstance(value, list) else value
            value = None if value is None else value[key]
        return _first(value) if self.listed else value

    def item_of(self, example: dict[str, Any]) -> Any:
        """The encoded image of one example, as :func:`hf_affscore.images.decoding.decode` takes it."""
        import torch

        value = self.value_of(example)
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
        """An item that names a file, by a path that can be opened from here.

        A data set from elsewhere names its own files and addresses, and none of this machine.
        """
        path, base = item["path"], self.base
        if base is None or (("://" in path) and not path.startswith("file:")):
            return item
        if "://" not in base:
            return {**item, "path": str(Path(base, path))}
        inside = posixpath.normpath(path.replace("\\", "/"))
        if inside.startswith(("/", "..", "file:")):
            return Undecodable(f"it names a file outside the data set ({posixpath.basename(path)})")
        return {**item, "path": f"{base}/{inside}"}


class _Candidate(NamedTuple):
    keys: tuple[str, ...]
    kind: Kind
    listed: bool = False
    mode: str | None = None

    @property
    def path(self) -> str:
        return ".".join(self.keys)


def encoded(data: Any, column: str | None = None) -> Any:
    """A ``datasets`` object that gives images as it holds them, or the ready tensors of its user's transform.

    A stream of files on the Hub decodes every one of them by itself, ahead of what is asked for; what was taken or
    skipped of such a stream goes on to do so, which is why this comes first.

    Args:
        data: A ``datasets`` object, or what is like one and has no formats.
        column: The column that images are to come from, where somebody says so.
    """
    import datasets

    if isinstance(data, datasets.IterableDataset):
        return data.decode(False) if data.features else data
    if isinstance(data, datasets.Dataset) and data.format["type"] is not None:
        transformed = ready(data, column)
        if transformed is not None:
            return transformed
        data = data.with_format(None)
    for name, feature in (data.features or {}).items():
        bare = _undecoded(feature)
        if bare is not feature:
            data = data.cast_column(name, bare)
    return data


def _undecoded(feature: Any) -> Any:
    """A feature whose images stay encoded; the same object where there are none."""
    import datasets

    if isinstance(feature, datasets.Image):
        return replace(feature, decode=False) if feature.decode else feature
    if isinstance(feature, dict):
        inner = {name: _undecoded(part) for name, part in feature.items()}
        return inner if any(inner[name] is not feature[name] for name in feature) else feature
    if isinstance(feature, datasets.List | datasets.LargeList):
        bare = _undecoded(feature.feature)
        return replace(feature, feature=bare) if bare is not feature.feature else feature
    return feature


def image_column(data: Examples, options: Options, base: str | None = None) -> ImageColumn:
    """The column asked for, or the one that holds images.

    Args:
        data: The examples, their images encoded.
        options: ``image_column``.
        base: The folder or address that relative paths in the data set start from.

    Raises:
        DatasetError: There is no such column, it holds no images, or several do and none is to be preferred.
    """
    names = None if data.features is None else list(data.features)
    found = list(_declared(data.features or {}))
    if options.image_column is not None:
        chosen = next((c for c in found if c.path == options.image_column), None)
        chosen = chosen or _asked_for(options.image_column, data, names)
    else:
        examples = [] if found else list(itertools.islice(data, LOOKED_AT))
        chosen = _preferred(found or list(_shown(examples)), names or list(examples[0] if examples else ()))
    if chosen.listed:
        warnings.warn(
            f"The column {chosen.path} holds lists of images: the first of each is used.",
            AffscoreWarning,
            stacklevel=2,
        )
    return ImageColumn(chosen.path, chosen.keys, chosen.listed, chosen.mode, base)


def _declared(feature: Any, keys: tuple[str, ...] = (), listed: bool = False) -> Iterator[_Candidate]:
    """The columns that are declared to hold images, also inside others and in lists."""
    import datasets

    if isinstance(feature, datasets.Image):
        yield _Candidate(keys, Kind.IMAGE, listed, feature.mode)
    elif isinstance(feature, dict):
        for name, part in feature.items():
            yield from _declared(part, (*keys, name))
    elif isinstance(feature, datasets.List | datasets.LargeList):
        yield from _declared(feature.feature, keys, True)


def _shown(examples: list[dict[str, Any]]) -> Iterator[_Candidate]:
    """The columns in which the first of their values that is not missing is an image."""
    seen: dict[tuple[str, ...], Any] = {}
    for example in examples:
        for keys, value in _leaves(example):
            if value is not None and kind_of(seen.get(keys), keys[-1])[0] is Kind.NONE:
                seen[keys] = value
    for keys, value in seen.items():
        kind, listed = kind_of(value, keys[-1])
        if kind is not Kind.NONE:
            yield _Candidate(keys, kind, listed)


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of an example that is no dictionary of others, with the names that lead to it."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and not value[0].keys() <= _FILE:
        value = value[0]
    if isinstance(value, dict) and not (keys and value.keys() <= _FILE):
        for name, part in value.items():
            yield from _leaves(part, (*keys, str(name)))
    else:
        yield keys, value


#: How ``datasets`` stores an image, or any other file.
_FILE = {"bytes", "path"}


def _preferred(found: list[_Candidate], names: list[str]) -> _Candidate:
    """The candidate of the likeliest kind and name.

    Raises:
        DatasetError: There is none, or several are alike.
    """
    columns = ", ".join(names) or "none"
    if not found:
        raise DatasetError(
            f"No column holds images; the columns are {columns}. Expected encoded images, paths, addresses or "
            "arrays of pixels. If one holds them, name it with image_column (--image-column)."
        )
    likeliest = min(candidate.kind for candidate in found)
    found = [candidate for candidate in found if candidate.kind is likeliest]
    ranked = sorted(found, key=lambda candidate: _rank(candidate.keys[-1]))
    if len(found) == 1:
        return found[0]
    several = f"Several columns hold images: {', '.join(candidate.path for candidate in found)}."
    if _rank(ranked[0].keys[-1]) == _rank(ranked[1].keys[-1]):
        raise DatasetError(f"{several} Choose one with image_column (--image-column).")
    warnings.warn(
        f"{several} {ranked[0].path} is used; image_column (--image-column) chooses another.",
        AffscoreWarning,
        stacklevel=3,
    )
    return ranked[0]


def _rank(name: str) -> int:
    return PREFERRED.index(name.lower()) if name.lower() in PREFERRED else len(PREFERRED)


def _asked_for(path: str, data: Examples, names: list[str] | None) -> _Candidate:
    """A column that does not declare images, whatever else it holds, as long as that is an image.

    Raises:
        DatasetError: There is no such column, or what it holds is none.
    """
    examples = list(itertools.islice(data, LOOKED_AT))
    names = names if names is not None else list(examples[0] if examples else ())
    keys = (path,) if path in names else tuple(path.split("."))
    column = ImageColumn(path, keys)
    values = []
    for example in examples:
        try:
            values.append(column.value_of(example))
        except (KeyError, TypeError):
            columns = ", ".join(names) or "none"
            raise DatasetError(f"There is no column {path!r}; the columns are {columns}.") from None
    values = [value for value in values if value is not None]
    for value in values:
        kind, listed = kind_of(value, keys[-1], asked=True)
        if kind is not Kind.NONE:
            return _Candidate(keys, kind, listed)
    held = described(values[0]) if values else f"nothing in its first {len(examples)} rows"
    raise DatasetError(
        f"The column {path!r} holds {held}; expected encoded images, paths, addresses or arrays of pixels. "
        f"Choose another with image_column (--image-column): the columns are {', '.join(names)}."
    )


def _first(values: Any) -> Any:
    """The first of a list; None, a missing image, of an empty one."""
    return None if values is None or len(values) == 0 else values[0]
