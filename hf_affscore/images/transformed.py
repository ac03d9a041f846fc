"""``datasets`` objects with a user's transform: it is used if it gives ready tensors, else left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import warn
from hf_affscore.images.pixels import channel_axis

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Transformed:
    """Examples made by a user's transform, which needs all columns of the table.

    Attributes:
        data: The data set with its transform.
    """

    data: datasets.Dataset

    @property
    def features(self) -> None:
        """None: the output of a transform is not declared."""

    @property
    def split(self) -> Any:
        """Name of the split."""
        return self.data.split

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> dict[str, Any]:
        example: dict[str, Any] = self.data[number]
        return example

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def select_columns(self, names: list[str]) -> Transformed:
        """The same object: the transform may need columns with other names."""
        return self

    def part(self, start: int, stop: int | None) -> Transformed:
        """Examples ``start`` to ``stop``."""
        end = len(self) if stop is None else min(stop, len(self))
        return replace(self, data=self.data.select(range(min(start, end), end)))


def ready(data: datasets.Dataset, column: str | None) -> Transformed | None:
    """The data set with its transform if that gives ready tensors; else None, with a warning.

    Args:
        data: A data set with a format: a transform (``set_transform``), or an array type, which is ignored.
        column: The requested image column, if any.
    """
    if data.format["type"] != "custom" or len(data) == 0:
        return None
    try:
        example = data[0]
        given = {str(name): value for name, value in example.items()}
        found = [name for name, value in given.items() if _is_ready(value)]
        said = f"gives {', '.join(given) or 'nothing'} and no ready tensor of shape (3, H, W)"
    except Exception as error:  # a transform may run any code
        found, said = [], f"failed on the first example ({type(error).__name__}: {error})"
    if found and column in (None, *found):
        return Transformed(data)
    if found:
        said = f"gives ready tensors as {', '.join(found)}, but {column} was asked for"
    warn(f"The transform of the data set {said}. It is not applied: the stored images are used.")
    return None


def _is_ready(value: Any) -> bool:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and channel_axis(tuple(value.shape)) in (0, None)
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and channel_axis(value.shape) == 0
