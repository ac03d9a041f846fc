"""One row of a signature: immutable fields, read by attribute or by key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_affscore.spelling import did_you_mean


class Record(Mapping[str, Any]):
    """One immutable row, read by attribute or by key.

    Example:
        >>> row = Record(module="layer1.0.relu", affinity_score=0.76)
        >>> row.affinity_score == row["affinity_score"]
        True
    """

    __slots__ = ("_fields",)
    _fields: dict[str, Any]

    def __init__(self, /, **fields: Any) -> None:
        object.__setattr__(self, "_fields", fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(
                f"this row has no field {name!r}; it has {', '.join(self._fields)}."
                f"{did_you_mean(name, self._fields)}"
            )
        return self._fields[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"rows are immutable; {name!r} was not changed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        """Equal fields; nan, which stands for an undefined number, equals nan."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._fields.keys() == other.keys() and all(
            value == other[name] or (_is_nan(value) and _is_nan(other[name]))
            for name, value in self._fields.items()
        )

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_record, (self._fields,))


def _record(fields: Mapping[str, Any]) -> Record:
    return Record(**fields)


def call_name(row: Record) -> str:
    """A readable name of a call: the module's path, and the number of the call if the module is reused.

    Example:
        >>> call_name(Record(module="relu", call=1))
        'relu #1'
    """
    return f"{row.module or '(root)'}" + (f" #{row.call}" if row.call else "")


def channels_first(rows: Iterable[Record]) -> bool | None:
    """Whether the first axis after the images is that of channels, in half of the rows or more; None if none says.

    ``paper`` pooling keeps that axis, whatever it is: the features of other rows are tokens, or rows of an image.

    Example:
        >>> channels_first([Record(channel_axis=1), Record(channel_axis=2), Record(channel_axis=2)])
        False
    """
    axes = [row["channel_axis"] for row in rows if "channel_axis" in row]
    return 2 * axes.count(1) >= len(axes) if axes else None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
