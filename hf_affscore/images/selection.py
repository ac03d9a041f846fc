"""Choose a split of a data set, or a part of one by position."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hf_affscore.errors import DatasetError, warn
from hf_affscore.images.undecoded import encoded
from hf_affscore.options import Options

if TYPE_CHECKING:
    from hf_affscore.images.forms import Data

#: Preferred splits, in order, if none is requested.
PREFERRED_SPLITS = ("test", "validation", "val", "valid", "train")


def choose_split(splits: Mapping[str, Callable[[], Data]], options: Options, what: str) -> Data:
    """One split, or the part of it selected by ``name[from:to]``.

    Args:
        splits: Functions that open the splits.
        options: ``split`` and ``image_column``.
        what: The data set, for messages.

    Raises:
        DatasetError: The split does not exist or is empty, the part has no images, or the option is malformed.
    """
    names = [str(name) for name in splits]
    if not names:
        raise DatasetError(f"{what} has no split at all; expected at least one with images.")
    asked = options.split or next((name for name in PREFERRED_SPLITS if name in names), names[0])
    selection = re.fullmatch(r"([^\[\]]+)(?:\[(\d*):(\d*)\])?", asked)
    if selection is None:
        raise DatasetError(
            f"split is {options.split!r}; expected a name, or a part of a split by position: validation[100:600]."
        )
    name, start, stop = selection[1], int(selection[2] or 0), int(selection[3]) if selection[3] else None
    if name not in names:
        raise DatasetError(f"{what} has no split {name!r}; it has {', '.join(names)}.")
    data = splits[name]()
    where = f"The split {name!r} of {what[0].lower()}{what[1:]}"
    length = len(data) if hasattr(data, "__len__") else None  # None: a stream
    if length == 0:
        others = ", ".join(other for other in names if other != name)
        advice = f"Choose another with split (--split): {others}." if others else "There is no other."
        raise DatasetError(f"{where} has no images in it. {advice}")
    _check(start, stop, length, f"{where} has", asked)
    return _part(encoded(data, options.image_column), start, stop)


def _check(start: int, stop: int | None, length: int | None, subject: str, asked: str) -> None:
    """Check a part of a split against the split's length, if that is known."""
    if stop is not None and stop <= start:
        raise DatasetError(
            f"split is {asked!r}, which selects no images; expected from < to, as in [100:600]."
        )
    if length is None:
        return
    if start >= length:
        raise DatasetError(f"{subject} {length} images; {asked} begins after the last.")
    if stop is not None and stop > length:
        warn(f"{subject} {length} images; {asked} ends after the last and gives {length - start}.")


def _part(data: Data, start: int, stop: int | None) -> Data:
    """Examples ``start`` to ``stop``."""
    import datasets

    if not isinstance(data, datasets.Dataset | datasets.IterableDataset):
        return data.part(start, stop)
    data = data.skip(start) if start else data
    if stop is None:
        return data
    wanted = max(stop - start, 0)
    if isinstance(data, datasets.Dataset):
        wanted = min(wanted, len(data))  # some versions of datasets take no more than there are
    return data.take(wanted)
