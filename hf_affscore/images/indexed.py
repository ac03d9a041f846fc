"""Data sets of torch, and other objects that give examples: by number, or one after the other.

An example is an image, a tuple such as ``(image, label)``, whose parts are columns ``"0"``, ``"1"``, or a mapping.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

from hf_affscore.errors import DatasetError, warn
from hf_affscore.images.columns import LOOKED_AT
from hf_affscore.images.decoding import Undecodable


@dataclass(frozen=True)
class Indexed:
    """The examples of an object with a length and an index.

    Attributes:
        data: The object.
    """

    data: Any
    features: None = None
    split: None = None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> dict[str, Any] | Undecodable:
        """An example; an error of the object costs this example alone."""
        try:
            return row_of(self.data[number])
        except Exception as error:  # an object may run any code
            said = " ".join(str(error).split())
            return Undecodable(f"example {number} could not be read: {type(error).__name__}: {said}")

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(len(self)))

    def select_columns(self, names: list[str]) -> Indexed:
        """The same object: examples are made as a whole."""
        return self

    def part(self, start: int, stop: int | None) -> Indexed:
        """Examples ``start`` to ``stop``."""
        from torch.utils.data import Subset

        return replace(self, data=Subset(self.data, range(len(self))[start:stop]))


class FirstRows(list[dict[str, Any]]):
    """Rows of a table with undeclared columns."""

    features = None


class Examples:
    """The examples of an iterable, of which the first are read at once.

    Args:
        items: The iterable. If it can be iterated over only once, the first examples are kept.
        count: Number of examples to read.
    """

    def __init__(self, items: Any, count: int = LOOKED_AT) -> None:
        self._items = items
        iterator, self._first, self._failure = iter(items), deque[Any](), list[Exception]()
        try:
            while len(self._first) < count:
                self._first.append(next(iterator))
                if not isinstance(self._first[0], Mapping | Sequence):  # an image has no columns to look for
                    break
        except StopIteration:
            pass
        except Exception as error:  # an iterable may run any code
            self._failure.append(error)
        self._rest = iterator if iterator is items else None

    @property
    def first(self) -> Any:
        """The first example; None if there is none."""
        return next(iter(self._first), None)

    def rows(self) -> FirstRows:
        """The first examples as rows of a table."""
        return FirstRows(list(map(row_of, self._first)))

    def __iter__(self) -> Iterator[Any]:
        if self._rest is None:
            return iter(self._items)
        return self._joined()

    def _joined(self) -> Iterator[Any]:
        while self._first:  # an example is let go when it is used
            yield self._first.popleft()
        for failure in self._failure:
            raise failure
        yield from self._rest or ()


def gives_examples(data: Any) -> bool:
    """Whether an object gives examples: one after the other, or by number, even if it does not know how many."""
    several = isinstance(data, Iterable) or hasattr(data, "__getitem__")
    return several and not isinstance(data, bytes | dict)


def length_of(data: Any) -> int | None:
    """The number of examples of an iterable; None if it does not know."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # ChainDataset of torch, of parts that do not know
        return None


def is_indexed(data: Any) -> bool:
    """Whether an object gives examples by number."""
    from torch.utils.data import IterableDataset

    if isinstance(data, IterableDataset):  # it inherits an index that fails
        return False
    return (
        isinstance(data, Sized)
        and hasattr(data, "__getitem__")
        and not isinstance(data, Mapping | str | bytes)
    )


def without_loader(data: Any) -> Any:
    """The data set of a torch ``DataLoader``, without its batches and sampler; other objects unchanged."""
    from torch.utils.data import DataLoader

    if not isinstance(data, DataLoader):
        return data
    warn(
        f"The images are drawn from the {type(data.dataset).__name__} of the DataLoader: its batches, sampler and "
        "collate function are not used."
    )
    return data.dataset


def without_table(data: Any) -> Any:
    """The rows of a table in memory, of pandas or of what exports Arrow tables; other objects unchanged."""
    import datasets
    import pandas
    import pyarrow

    if isinstance(data, pandas.Series):
        data = data.to_frame("image")
    if isinstance(data, pandas.DataFrame):  # whose values may be any objects
        return data.astype(object).where(data.notna(), None).to_dict("records")
    return datasets.Dataset(pyarrow.table(data)) if hasattr(data, "__arrow_c_stream__") else data


def first_example(data: Any) -> Any:
    """The first example of an object with an index that can be read; None if it is empty.

    Raises:
        DatasetError: None of the first examples can be read.
    """
    failure: Exception | None = None
    for number in range(min(len(data), LOOKED_AT)):
        try:
            return data[number]
        except Exception as error:  # an object may run any code
            failure = failure or error
    if failure is not None:
        raise DatasetError(
            f"The {type(data).__name__} gave none of its first examples: {type(failure).__name__}: {failure}. "
            "Expected images by number: data[0], data[1], and so on."
        ) from failure
    return None


def has_parts(example: Any) -> bool:
    """Whether an example has parts besides an image."""
    import numpy as np
    import torch
    from PIL.Image import Image

    if isinstance(example, list):  # else nested lists of pixels
        return any(isinstance(part, Image | torch.Tensor | np.ndarray) for part in example)
    return isinstance(example, Mapping | tuple)


def row_of(example: Any) -> dict[str, Any]:
    """An example as a row of a table.

    Example:
        >>> row_of(("a picture", 7))
        {'0': 'a picture', '1': 7}
    """
    if isinstance(example, Mapping):
        return {str(name): value for name, value in example.items()}
    if not has_parts(example):
        return {"image": example}
    if hasattr(example, "_asdict"):
        return dict(example._asdict())
    return {str(number): part for number, part in enumerate(example)}
