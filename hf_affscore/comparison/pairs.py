"""Pairs of rows of two signatures of one architecture: the same module, activation and number of the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_affscore.names import common_prefix
from hf_affscore.signature import Record

Rows = Sequence[Record]


def paired_rows(
    first: Rows, second: Rows
) -> tuple[list[tuple[Record, Record]], tuple[Record, ...], tuple[Record, ...]]:
    """The pairs in the order of the first, and the rows of each without a partner.

    A wrapper (of PEFT, of transformers around timm) puts a prefix before all names: it is left out where no full
    name fits.
    """
    for shorten in (False, True):
        ours, theirs = _by_site(first, shorten), _by_site(second, shorten)
        pairs = [(row, theirs[site]) for site, row in ours.items() if site in theirs]
        if pairs:
            break
    left = tuple(row for site, row in ours.items() if site not in theirs)
    return pairs, left, tuple(row for site, row in theirs.items() if site not in ours)


def _by_site(rows: Rows, shorten: bool) -> dict[tuple[Any, ...], Record]:
    prefix = common_prefix(row.module for row in rows) if shorten else ""
    return {(row.module.removeprefix(prefix), row.activation, row.call, row.get("kind")): row for row in rows}
