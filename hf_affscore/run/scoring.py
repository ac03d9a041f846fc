"""Scores the layers of a group: each in a thread of one process; all processes get the results."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from hf_affscore.capture.features import FirstSeen, Pair, SiteFeatures, defect
from hf_affscore.capture.sites import CallSite
from hf_affscore.options import Options
from hf_affscore.run.collect import Group
from hf_affscore.run.fit import MemoryBudget
from hf_affscore.run.keep import RowKeeper
from hf_affscore.run.memory import give_memory_back
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import bar
from hf_affscore.run.resume import ResumeCache
from hf_affscore.score import score_layer
from hf_affscore.score.block import score_block
from hf_affscore.score.cost import block_bytes, scoring_bytes

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

#: The columns of one row, or ``skipped`` with the reason why there is none.
Columns: TypeAlias = dict[str, Any]
#: The result of one group: sites and their columns, in execution order.
Scores: TypeAlias = list[tuple[CallSite, Columns]]

#: Longest wait in seconds of a round of assigning layers; it ends earlier if a layer of this process is done.
ROUND = 0.03


class _Scored(NamedTuple):
    """A layer that is done: its place in the execution order, its site and its columns."""

    place: int
    site: CallSite
    columns: Columns


class _Load(NamedTuple):
    """The state of a process: unfinished layers minus threads (at 0 or less it takes more), and layers done."""

    left: int
    done: int


class Scorer:
    """Scores one group after the other, while the images of the next group run through the model.

    Args:
        options: Ridge, shrinkage, number of parts.
        processes: The processes that share the work.
        resume: Where finished layers are stored.
        keeper: Where rows are kept.
        devices: Accelerators that may be used, each up to ``device_memory_limit``.
    """

    def __init__(
        self,
        options: Options,
        *,
        processes: Processes,
        resume: ResumeCache,
        keeper: RowKeeper | None = None,
        devices: Sequence[torch.device] = (),
    ) -> None:
        self._options = options
        self._processes = processes.with_own_connections()
        self._resume = resume
        self._keeper = keeper or RowKeeper()
        self._progress: tqdm[Any] | None = None  # made with the first group
        self._num_threads = num_threads()
        self._threads = ThreadPoolExecutor(self._num_threads, "score")
        self._memory = MemoryBudget()
        self._limit = int(options.device_memory_limit * 1e9)
        self._devices = [(device, MemoryBudget(self._limit)) for device in devices]
        self._scheduler = ThreadPoolExecutor(1, "schedule")
        self._ended_by: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Cancel layers that have not started; the scoring ends with ``error``, in the other processes too."""
        self._ended_by = error
        self._threads.shutdown(cancel_futures=True)
        self._scheduler.shutdown()
        if self._progress is not None:
            self._progress.close()

    def start(self, group: Group, number: int) -> Future[Scores]:
        """Start scoring a group; the future has the scores of all processes, in execution order."""
        return self._scheduler.submit(self._scores, group, number)

    def _scores(self, group: Group, number: int) -> Scores:
        with self._processes.sharing_errors():
            try:
                return self._assigned(group, number)
            except Exception:
                if self._ended_by is not None:
                    raise self._ended_by from None
                raise

    def _assigned(self, group: Group, number: int) -> Scores:
        """Assign layers to processes as they become free, since the time of a layer is not known beforehand.

        In every round the processes exchange their states, and so agree on the next step: the rows of a layer go
        to the process with the least work left, or all wait.
        """
        seen = self._processes.gather(group.features.first_seen)
        sites = sorted(_earliest(seen).items(), key=lambda item: item[1])
        # Wide layers take longest: start them first, so that none is left when the others are done.
        unassigned = deque(sorted(range(len(sites)), key=lambda place: -sites[place][1].width))
        work: list[Future[_Scored]] = []
        before, done, own_rows = self._count_layers(len(sites)), 0, dict[int, Pair]()
        while done < len(sites):
            # Everything that may fail comes before the exchange, which tells the other processes of an error.
            if self._ended_by is not None:
                raise self._ended_by
            own = [future.result() for future in work if future.done()]
            if unassigned and not own_rows:
                own_rows = group.features.take(sites[unassigned[0]][0])
            loads = self._processes.gather(_Load(len(work) - len(own) - self._num_threads, len(own)))
            done, least = sum(load.done for load in loads), min(loads)
            if unassigned and least.left <= 0:
                place, owner = unassigned.popleft(), loads.index(least)
                batches, own_rows = self._batches_at(owner, own_rows), {}
                if owner == self._processes.rank:
                    site = sites[place][0]
                    work.append(self._threads.submit(self._score, group, number, place, site, batches))
            else:
                wait([future for future in work if not future.done()], ROUND, FIRST_COMPLETED)
            self._show(before + done)
        layers = itertools.chain.from_iterable(self._processes.gather([future.result() for future in work]))
        return [(layer.site, layer.columns) for layer in sorted(layers, key=lambda layer: layer.place)]

    def _count_layers(self, count: int) -> int:
        """Add ``count`` layers to the total of the bar; returns how many layers are done already."""
        if self._progress is None:
            self._progress = bar(count, "Scores", "layer", enabled=self._options.progress)
        else:
            self._progress.total += count
        return int(self._progress.n)

    def _show(self, done: int) -> None:
        assert self._progress is not None
        self._progress.update(done - self._progress.n)

    def _batches_at(self, owner: int, own: dict[int, Pair]) -> dict[int, Pair]:
        """The batches of one layer from all processes, in the process that scores it."""
        gathered: dict[int, Pair] = {}
        for batches in self._processes.gather_at(owner, own):
            gathered |= batches
        return gathered

    def _score(
        self, group: Group, number: int, place: int, site: CallSite, batches: dict[int, Pair]
    ) -> _Scored:
        """Score one site in this thread, or take it from the cache of an interrupted run."""
        columns = self._resume.load_layer(number, place, group.known_by)
        kept = (
            columns is None
            or "skipped" in columns
            or not self._keeper.lacks(number, place, site, group.known_by)
        )
        if columns is None or not kept:
            keep = partial(self._keeper.keep, number, place, site, group.known_by)
            columns = self._columns(place, site, batches, group.num_batches, keep)
            give_memory_back()
            self._resume.save_layer(number, place, group.known_by, columns)
        return _Scored(place, site, columns)

    def _columns(
        self,
        place: int,
        site: CallSite,
        batches: dict[int, Pair],
        num_batches: int,
        keep: Callable[[SiteFeatures], None],
    ) -> Columns:
        reason = defect(batches, num_batches)
        if reason is not None:
            return {"skipped": reason}
        count = sum(len(pre.rows) for pre, _ in batches.values())
        width = max(side.rows.shape[1] for pair in batches.values() for side in pair)
        most_bytes = block_bytes if site.part else scoring_bytes
        with self._memory.reserved(most_bytes(count, width)):
            layer = SiteFeatures.join(batches)
            batches.clear()  # otherwise the rows are in memory twice
            keep(layer)
            return block_columns(layer, site.part) if site.part else self._layer_columns(place, layer)

    def _layer_columns(self, place: int, layer: SiteFeatures) -> Columns:
        """The columns of one activation, from an accelerator where the layer fits, else from the CPU.

        The CPU also scores what an accelerator cannot: where others have taken its memory, or where its
        decomposition of a matrix fails and LAPACK's may not.
        """
        import torch

        linalg: Any = torch.linalg  # partly without annotations
        failures = torch.OutOfMemoryError, linalg.LinAlgError
        size = scoring_bytes(len(layer.pre), max(layer.pre.shape[1], layer.post.shape[1]))
        if self._devices and size <= self._limit:
            device, memory = self._devices[place % len(self._devices)]
            with memory.reserved(size), suppress(*failures):
                return columns_of(layer, self._options, device)
        return columns_of(layer, self._options)


def columns_of(layer: SiteFeatures, options: Options, device: torch.device | None = None) -> Columns:
    """The columns of one activation, scored on this accelerator, or else on the CPU."""
    import torch

    pre, post = (
        side if device is None else torch.from_numpy(side).to(device) for side in (layer.pre, layer.post)
    )
    numbers = score_layer(
        pre,
        post,
        shrinkage=options.shrinkage,
        regularization=options.regularization,
        num_groups=min(options.num_groups, len(layer.pre) // 2),
    )
    return {
        "dim": layer.pre.shape[1],
        "num_samples": layer.pre.shape[0],
        **numbers,
        **({"scored_on": str(device or "cpu")} if options.device_memory_limit else {}),
        "sparsity_pre": layer.sparsity_pre[0],
        "sparsity_pre_error": layer.sparsity_pre[1],
        "sparsity_post": layer.sparsity_post[0],
        "sparsity_post_error": layer.sparsity_post[1],
    }


def block_columns(rows: SiteFeatures, part: str) -> Columns:
    """The columns of one block, or part of one."""
    return {
        "dim": rows.pre.shape[1],
        "dim_out": rows.post.shape[1],
        "num_samples": rows.pre.shape[0],
        **score_block(rows.pre, rows.post, rows.products, is_part=part != "block"),
    }


def to_json(scores: Scores) -> list[Any]:
    """Scores as a JSON document."""
    return [[asdict(site), columns] for site, columns in scores]


def from_json(document: list[Any]) -> Scores:
    """The scores that :func:`to_json` was given."""
    return [(CallSite(**site), columns) for site, columns in document]


def _earliest(seen: Iterable[Mapping[CallSite, FirstSeen]]) -> dict[CallSite, FirstSeen]:
    earliest: dict[CallSite, FirstSeen] = {}
    for sites in seen:
        for site, first in sites.items():
            earliest[site] = min(earliest.get(site, first), first)
    return earliest


def num_threads() -> int:
    """Threads that this process may use: as many as torch uses, at most one per core."""
    import torch

    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
