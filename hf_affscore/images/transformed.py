"""Data sets of ``datasets`` with a transform of their user's, which gives ready tensors or is left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import AffscoreWarning
from hf_affscore.images.pixels import channel_axis

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Transformed:
    """The examples that a user's transform makes, which needs all columns of the table.

    Attributes:
        data: The data set with its transform.
    """

    data: datasets.Dataset

    @property
    def features(self) -> None:
        """What a transform gives is not declared."""

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
        """The same: the columns that images are made from have other names."""
        return self

    def part(self, start: int, stop: int | None) -> Transformed:
        """Examples ``start`` to ``stop``."""
        end = len(self) if stop is None else min(stop, len(self))
        return replace(self, data=self.data.select(range(min(start, end), end)))


def ready(data: datasets.Dataset, column: str | None) -> Transformed | None:
    """The data set as its transform gives it, where that is a ready tensor; else None, and a warning.

    Args:
        data: A data set with a format: a transform (``set_transform``), or a type of array, which is no matter.
        column: The column that images are to come from, where somebody says so.
    """
    if data.format["type"] != "custom" or len(data) == 0:
        return None
    try:
        example = data[0]
        given = {str(name): value for name, value in example.items()}
        found = [name for name, value in given.items() if _is_ready(value)]
        said = f"gives {', '.join(given) or 'nothing'} and no ready tensor of shape (3, H, W)"
    except Exception as error:  # anybody's code
        found, said = [], f"failed on the first example ({type(error).__name__}: {error})"
    if found and column in (None, *found):
        return Transformed(data)
    if found:
        said = f"gives ready tensors as {', '.join(found)}, and {column} is asked for"
    warnings.warn(
        f"The transform of the data set {said}: it is left out, and images are read as the data set holds them.",
        AffscoreWarning,
        stacklevel=2,
    )
    return None


def _is_ready(value: Any) -> bool:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and value.ndim == 3
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and channel_axis(value.shape) == 0
