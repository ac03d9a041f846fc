"""Kept rows scored under other options: the signature that another analysis would give, without a forward pass."""

from __future__ import annotations

import datetime
import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_affscore.blocks import refuse_blocks
from hf_affscore.capture.features import SiteFeatures
from hf_affscore.capture.sites import CallSite
from hf_affscore.errors import InputError
from hf_affscore.options import Options
from hf_affscore.record import Record
from hf_affscore.run.columns import Columns, columns_of
from hf_affscore.run.fit import MemoryBudget
from hf_affscore.run.keep import ImageId
from hf_affscore.run.progress import bar
from hf_affscore.run.rows import records
from hf_affscore.run.scoring import num_threads
from hf_affscore.run.stored import digest
from hf_affscore.score.cost import scoring_bytes
from hf_affscore.signature import Signature
from hf_affscore.version import __version__

Array = npt.NDArray[np.floating[Any]]
Samples = slice | Sequence[int] | None

SPARSITY = tuple(f"sparsity_{side}{error}" for side in ("pre", "post") for error in ("", "_error"))


def rescored(
    signature: Signature,
    ids: Sequence[ImageId],
    read: Callable[[int], Sequence[tuple[Array, Array]]],
    given: Mapping[str, Any],
    samples: Samples,
    *,
    progress: bool,
) -> Signature:
    """What :meth:`hf_affscore.run.kept.Rows.rescore` returns.

    Args:
        signature: That of the analysis.
        ids: Which image each row is of.
        read: Gives the rows before and after an activation in every group, by its index in the signature.
        given: Options by name; those that are None stay as they were.
        samples: The rows to use; None: all.
        progress: Whether to show progress.
    """
    refuse_blocks(signature.rows, "rescore")
    chosen = _chosen(samples, len(ids))
    changed = {
        name: signature.metadata["options"][name] if value is None else value for name, value in given.items()
    }
    changed |= {} if samples is None else {"num_samples": len(chosen)}
    options = Options(**{"num_samples": signature.metadata["options"]["num_samples"], **changed})
    memory = MemoryBudget()

    def scored(index: int) -> list[tuple[CallSite, Columns]]:
        row = signature.rows[index]
        with memory.reserved(scoring_bytes(len(chosen), row["dim"])):
            groups = read(index)
            if samples is not None:
                pre, post = (np.concatenate(side)[chosen] for side in zip(*groups, strict=True))
                groups = [(pre, post)]
            sparsity = _sparsity(row, whole=samples is None)
            return [(_site(row), columns_of(SiteFeatures(*rows, *sparsity), options)) for rows in groups]

    count, scores = len(signature.rows), []
    with (
        bar(count, "Scores", "layer", enabled=progress) as shown,
        ThreadPoolExecutor(num_threads(), "score") as threads,
    ):
        for layer in threads.map(scored, range(count)):
            scores.append(layer)
            shown.update()
    metadata = _metadata(signature.metadata, changed, [ids[number] for number in chosen], samples)
    skipped = {_site(row): row["reason"] for row in signature.skipped}
    groups = list(map(list, zip(*scores, strict=True)))
    rows, left_out = records(groups, skipped, metadata["dataset"].get("draw", {}))
    if len(groups) > 1:  # of a mean over groups the parts are not stored
        before = (dict(zip(SPARSITY, map(row.get, SPARSITY), strict=True)) for row in signature.rows)
        rows = tuple(Record(**{**row, **kept}) for row, kept in zip(rows, before, strict=True))
    return Signature(rows, left_out, metadata)


def _site(row: Record) -> CallSite:
    return CallSite(
        row["module"], row["activation"], row["call"], row["kind"], channel_axis=row.get("channel_axis", 1)
    )


def _chosen(samples: Samples, count: int) -> list[int]:
    """The numbers of the rows to use."""
    if samples is None or isinstance(samples, slice):
        chosen = list(range(count)[samples or slice(None)])
    else:
        try:
            if any(isinstance(number, bool) for number in samples):  # True would be the number 1
                raise TypeError
            chosen = [operator.index(number) for number in samples]
        except TypeError:
            raise InputError(f"samples is {samples!r}; expected a slice or a list of row numbers.") from None
    wrong = [number for number in chosen if not 0 <= number < count]
    if wrong:
        raise InputError(f"samples has {wrong[0]}; expected numbers from 0 to {count - 1}.")
    repeated = [number for number, times in Counter(chosen).items() if times > 1]
    if repeated:  # copies of an image would be fitted to and held out
        raise InputError(f"samples has {repeated[0]} more than once; expected each row once.")
    if len(chosen) < 2:
        raise InputError(f"samples selects {len(chosen)} rows; expected at least 2 of {count}.")
    return chosen


def _sparsity(row: Record, *, whole: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    """The share of near-zero entries before and after an activation, with its error."""
    pre, post = ((row[f"sparsity_{side}"], row[f"sparsity_{side}_error"]) for side in ("pre", "post"))
    unknown = math.nan, math.nan
    return (pre, post) if whole else (unknown, unknown)


def _metadata(
    analysed: Mapping[str, Any],
    changed: Mapping[str, Any],
    used: Sequence[ImageId],
    samples: Samples,
) -> dict[str, Any]:
    """The metadata of the analysis, with what is different now."""
    dataset = dict(analysed["dataset"])
    if samples is not None:
        dataset |= {"num_samples": len(used), "num_groups": 1, "samples": [image.position for image in used]}
        dataset["fingerprint"] = digest([digest([image.fingerprint for image in used])])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    options = {**analysed["options"], **changed}
    options.pop("device_memory_limit", None)  # scored on the CPU
    return {
        **analysed,
        "dataset": dataset,
        "options": options,
        "environment": {**analysed["environment"], "rescored": {"created": now, "hf_affscore": __version__}},
    }
