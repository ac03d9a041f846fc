"""The pooled rows of every call site, collected batch by batch and returned site by site.

A batch is identified by the position of its first image in the stream. So batches may come in any order, from any
process, or from the cache of an interrupted run, and the rows are still in the order of the images.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from hf_affscore.capture.row_buffer import RowBuffer
from hf_affscore.capture.summary import Summary, sparsity

if TYPE_CHECKING:
    from hf_affscore.capture.sites import CallSite

#: Input and output of one site in one batch.
Pair: TypeAlias = tuple[Summary, Summary]


class FirstSeen(NamedTuple):
    """The earliest call of a site; sorting these gives the execution order.

    Attributes:
        start: Position of the first image of its batch.
        number: Number of the call within that batch.
        width: Number of its features, before or after it, whichever are more.
    """

    start: int
    number: int
    width: int


@dataclass(frozen=True)
class SiteFeatures:
    """The features of one call site.

    Attributes:
        pre: Pooled inputs, ``(n, d)``.
        post: Pooled outputs, ``(n, d)``.
        sparsity_pre: Share of near-zero entries of the unpooled inputs, and its standard error.
        sparsity_post: The same of the outputs.
        products: Of a block, ``(n, 3)`` (:mod:`hf_affscore.capture.update`); else empty.
    """

    pre: npt.NDArray[np.floating]
    post: npt.NDArray[np.floating]
    sparsity_pre: tuple[float, float]
    sparsity_post: tuple[float, float]
    products: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))

    @classmethod
    def join(cls, batches: Mapping[int, Pair]) -> SiteFeatures:
        """Join the batches of one site, in the order of the images."""
        pre, post = zip(*(batches[start] for start in sorted(batches)), strict=True)
        return cls(
            pre=np.concatenate([summary.rows for summary in pre]),
            post=np.concatenate([summary.rows for summary in post]),
            sparsity_pre=sparsity(pre),
            sparsity_post=sparsity(post),
            products=np.concatenate([summary.products for summary in post]),
        )


class _InFile(NamedTuple):
    """A summary whose rows are in the temporary file.

    Attributes:
        offset: Position of their first byte in the file.
        shape: ``(n, d)``.
        dtype: float32 or float64.
        near_zero: See :class:`~hf_affscore.capture.summary.Summary`.
        products: See there.
    """

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]
    near_zero: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]


class Features:
    """The rows that one process has collected.

    Args:
        memory_limit: Bytes of rows to keep in memory; further rows go to an unnamed temporary file, which the
            system removes when the process ends, even if it is killed. If the disk is full, rows stay in memory.
    """

    def __init__(self, memory_limit: float = float("inf")) -> None:
        self.num_batches = 0
        self._memory = memory_limit
        self._file: IO[bytes] | None = None
        self._sites: dict[CallSite, dict[int, tuple[Summary | _InFile, Summary | _InFile]]] = {}
        self._shelves: defaultdict[CallSite, RowBuffer] = defaultdict(RowBuffer)
        self._first: dict[CallSite, FirstSeen] = {}

    def add(self, start: int, calls: Iterable[tuple[CallSite, Summary, Summary]]) -> None:
        """Keep the calls of one forward pass; ``start`` is the position of its first image."""
        self.num_batches += 1
        for number, (site, pre, post) in enumerate(calls):
            first = FirstSeen(start, number, max(pre.rows.shape[1], post.rows.shape[1]))
            self._first[site] = min(self._first.get(site, first), first)
            kept = self._stored(site, pre), self._stored(site, post)
            self._sites.setdefault(site, {})[start] = kept

    @property
    def first_seen(self) -> dict[CallSite, FirstSeen]:
        """Every site with its earliest call in the batches of this process."""
        return dict(self._first)

    def take(self, site: CallSite) -> dict[int, Pair]:
        """Remove and return the batches of one site.

        Rows in the file are read on access: they are views of one memory mapping for the whole site, since a
        mapping for each batch would need as many open files.
        """
        self._shelves.pop(site, None)
        kept = self._sites.pop(site, {})
        file: Any = self._file
        if any(isinstance(side, _InFile) for pair in kept.values() for side in pair):
            file = np.memmap(file, dtype=np.uint8, mode="r")

        def summary(side: Summary | _InFile) -> Summary:
            if isinstance(side, Summary):
                return side
            rows = np.frombuffer(file, side.dtype, math.prod(side.shape), side.offset).reshape(side.shape)
            return Summary(rows, side.near_zero, side.products)

        return {start: (summary(pre), summary(post)) for start, (pre, post) in kept.items()}

    def close(self) -> None:
        """Drop all rows, and close the temporary file, which removes it."""
        self._sites.clear()
        self._shelves.clear()
        if self._file is not None:
            self._file.close()

    def _stored(self, site: CallSite, summary: Summary) -> Summary | _InFile:
        """The summary with its rows in memory or, beyond the limit, in the file."""
        buffer = self._shelves[site]
        near_zero, products = buffer.keep(summary.near_zero), buffer.keep(summary.products)
        self._memory -= summary.rows.nbytes
        if self._memory >= 0:
            return Summary(buffer.keep(summary.rows), near_zero, products)
        rows = np.ascontiguousarray(summary.rows)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="hf-affscore-", buffering=0)  # noqa: SIM115
            offset = self._file.seek(0, 2)
            whole = self._file.write(rows.tobytes()) == rows.nbytes
        except OSError:
            whole = False
        if not whole:  # the disk is full: keep this and all further rows in memory
            self._memory = math.inf
            return Summary(buffer.keep(rows), near_zero, products)
        return _InFile(offset, rows.shape, rows.dtype, near_zero, products)


def defect(batches: Mapping[int, Pair], num_batches: int) -> str | None:
    """Why the rows of a site, out of ``num_batches`` batches of all processes, do not belong together."""
    if len(batches) < num_batches:
        return f"it ran in {len(batches)} of {num_batches} batches only: the path depends on the image"
    widths = {(pre.rows.shape[1], post.rows.shape[1]) for pre, post in batches.values()}
    return widths_differ(widths) if len(widths) > 1 else None


#: How the reason for skipping rows of several widths begins.
WIDTHS = "its pooled width differs"


def widths_differ(widths: Iterable[tuple[int, int]]) -> str:
    """The reason for skipping a site whose rows, before and after it, have other widths in other batches."""
    return f"{WIDTHS} between batches: {sorted(set(itertools.chain.from_iterable(widths)))}"
