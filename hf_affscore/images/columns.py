"""Which column of a data set holds the images, and how one of its values becomes one encoded image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hf_affscore.errors import DatasetError
from hf_affscore.options import Options

if TYPE_CHECKING:
    import datasets


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
        path: Its name, as in the metadata of a signature.
    """

    path: str

    @property
    def name(self) -> str:
        """The column of the table that has to be read for it."""
        return self.path

    def item_of(self, example: dict[str, Any]) -> Any:
        """The encoded image of one example, as :func:`hf_affscore.images.decoding.decode` takes it."""
        return example[self.name]


def encoded(data: Any) -> Any:
    """A ``datasets`` object that gives images as it holds them.

    A stream of files on the Hub decodes every one of them by itself, ahead of what is asked for; what was taken or
    skipped of such a stream goes on to do so, which is why this comes first.
    """
    import datasets

    if isinstance(data, datasets.IterableDataset):
        return data.decode(False) if data.features else data
    images = [name for name, feature in data.features.items() if isinstance(feature, datasets.Image)]
    for name in images:
        data = data.cast_column(name, datasets.Image(decode=False))
    return data


def image_column(data: Examples, options: Options) -> ImageColumn:
    """The column asked for, or the only one with images."""
    import datasets
    from PIL.Image import Image

    if data.features is not None:
        names = list(data.features)
        images = [name for name, feature in data.features.items() if isinstance(feature, datasets.Image)]
    else:  # a stream that does not declare its columns: look at one example
        example: dict[str, Any] = next(iter(data), {})
        names = list(example)
        images = [name for name, value in example.items() if isinstance(value, Image)]
    columns = ", ".join(names) or "none"
    if options.image_column is not None:
        if options.image_column not in names:
            raise DatasetError(f"There is no column {options.image_column!r}; the columns are {columns}.")
        return ImageColumn(options.image_column)
    if not images:
        raise DatasetError(
            f"No column holds images; the columns are {columns}. "
            "If one holds encoded images as bytes, name it with image_column (--image-column)."
        )
    if len(images) > 1:
        raise DatasetError(
            f"Several columns hold images: {', '.join(images)}. Choose one with image_column (--image-column)."
        )
    return ImageColumn(str(images[0]))
