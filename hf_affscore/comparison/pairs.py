"""Pairs of rows of two signatures: the same module, activation and number of the call; and which can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_affscore.evidence import evidence_of
from hf_affscore.names import common_prefix
from hf_affscore.signature import Record, Signature
from hf_affscore.summary import column

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


def of_the_same_images(first: Signature, second: Signature) -> bool:
    """Whether both signatures are of the same images in the same order."""
    marks = [signature.metadata.get("dataset", {}).get("fingerprint") for signature in (first, second)]
    return marks[0] is not None and marks[0] == marks[1]


def have_errors(first: Signature, second: Signature) -> bool:
    """Whether the standard errors are those of the scores, which in numbers version 1 they were not."""
    return {first.interval, second.interval} == {"score at this number of images"}


def untested_because(one: Record, two: Record, *, known: bool) -> str | None:
    """Why a pair cannot be tested; None if it can."""
    words = [evidence_of(row) for row in (one, two)]
    where = [name for name, word in zip("AB", words, strict=True) if word != "ok"]
    if where:
        return f"no evidence in {' and '.join(where)}"
    errors = column((one, two), "affinity_score_stderr")
    return None if known and np.isfinite(errors).all() else "without a standard error"
