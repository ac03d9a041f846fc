"""Pairs of rows of two signatures: the same place in the architecture; and which can be tested."""

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

    Where a module has other activations in the second but as many, they are paired in execution order. A wrapper
    (of PEFT, of transformers around timm) puts a prefix before all names: it is left out where no full name fits.

    Example:
        >>> def rows(**activations):
        ...     return [Record(module=module, activation=name, call=0) for module, name in activations.items()]
        >>> pairs, left, _ = paired_rows(rows(act="ReLU", gate="Sigmoid"), rows(act="GELU"))
        >>> [(one.activation, two.activation) for one, two in pairs], [row.module for row in left]
        ([('ReLU', 'GELU')], ['gate'])
    """
    for shorten in (False, True):
        ours, theirs = _by_module(first, shorten), _by_module(second, shorten)
        partner: dict[int, Record] = {}
        for module in ours.keys() & theirs.keys():
            one, two = ours[module], theirs[module]
            if one.keys() != two.keys() and len(one) == len(two):
                two = dict(zip(one, two.values(), strict=True))
            partner |= {id(row): two[site] for site, row in one.items() if site in two}
        if partner:
            break
    pairs = [(row, partner[id(row)]) for row in first if id(row) in partner]
    taken = {id(row) for row in partner.values()}
    left = tuple(row for row in first if id(row) not in partner)
    return pairs, left, tuple(row for row in second if id(row) not in taken)


def _by_module(rows: Rows, shorten: bool) -> dict[str, dict[tuple[Any, ...], Record]]:
    """The rows of each module, by activation and call, in execution order."""
    prefix = common_prefix(row.module for row in rows) if shorten else ""
    found: dict[str, dict[tuple[Any, ...], Record]] = {}
    for row in rows:
        site = (row.activation, row.call, row.get("kind"))
        found.setdefault(row.module.removeprefix(prefix), {})[site] = row
    return found


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
