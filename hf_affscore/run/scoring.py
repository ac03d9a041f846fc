"""Distributes the layers of a group over threads and processes; all processes get the results."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from hf_affscore.capture.features import FirstSeen, Pair, SiteFeatures
from hf_affscore.capture.sites import CallSite
from hf_affscore.options import Options
from hf_affscore.run.collect import Group
from hf_affscore.run.columns import Columns, Layer, LayerScorer, together_on_accelerators
from hf_affscore.run.keep import RowKeeper
from hf_affscore.run.memory import give_memory_back
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import bar
from hf_affscore.run.resume import ResumeCache

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

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
    """The state of a process: unfinished tasks minus threads (at 0 or less it takes more), and layers done."""

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
        self._processes = processes.with_own_connections()
        self._resume = resume
        self._keeper = keeper or RowKeeper()
        self._progress: tqdm[Any] | None = None  # made with the first group
        self._num_threads = num_threads()
        self._threads = ThreadPoolExecutor(self._num_threads, "score")
        self._options = options
        self._layers = LayerScorer(options, devices)
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
        unassigned = deque(self._tasks([first.width for _, first in sites], group.num_samples))
        work: list[Future[list[_Scored]]] = []
        before, done, own_rows = self._count_layers(len(sites)), 0, list[Layer]()
        while done < len(sites):
            # Everything that may fail comes before the exchange, which tells the other processes of an error.
            if self._ended_by is not None:
                raise self._ended_by
            own = [future.result() for future in work if future.done()]
            if unassigned and not own_rows:
                own_rows = [Layer(i, sites[i][0], group.features.take(sites[i][0])) for i in unassigned[0]]
            load = _Load(len(work) - len(own) - self._num_threads, sum(map(len, own)))
            loads = self._processes.gather(load)
            done, least = sum(load.done for load in loads), min(loads)
            if unassigned and least.left <= 0:
                unassigned.popleft()
                owner = loads.index(least)
                task, own_rows = [self._with_batches_at(owner, layer) for layer in own_rows], []
                if owner == self._processes.rank:
                    work.append(self._threads.submit(self._score, group, number, task, len(unassigned)))
            else:
                wait([future for future in work if not future.done()], ROUND, FIRST_COMPLETED)
            self._show(before + done)
        scored = [layer for future in work for layer in future.result()]
        everywhere = itertools.chain(*self._processes.gather(scored))
        return [(layer.site, layer.columns) for layer in sorted(everywhere, key=lambda layer: layer.place)]

    def _tasks(self, widths: Sequence[int], num_samples: int) -> list[list[int]]:
        """The places of the layers of each task: one, or some that accelerators score together."""
        limit = 0
        if self._options.device_memory_limit:  # the same in all processes
            limit = max(self._processes.gather(self._layers.device_bytes))
        return together_on_accelerators(widths, num_samples, limit)

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

    def _with_batches_at(self, owner: int, own: Layer) -> Layer:
        """A layer with its batches from all processes, in the process that scores it."""
        gathered: dict[int, Pair] = {}
        for batches in self._processes.gather_at(owner, own.batches):
            gathered |= batches
        return own._replace(batches=gathered)

    def _score(self, group: Group, number: int, layers: Sequence[Layer], task: int) -> list[_Scored]:
        """Score layers in this thread, or take them from the cache of an interrupted run if all are there."""
        stored = [self._stored(group, number, layer) for layer in layers]
        columns = [known for known in stored if known is not None]
        if len(columns) < len(layers):
            keep = partial(self._keep, group, number)
            columns = self._layers.columns(layers, group.num_batches, keep, task)
            give_memory_back()
            for layer, computed in zip(layers, columns, strict=True):
                self._resume.save_layer(number, layer.place, group.known_by, computed)
        return [_Scored(layer.place, layer.site, known) for layer, known in zip(layers, columns, strict=True)]

    def _keep(self, group: Group, number: int, layer: Layer, rows: SiteFeatures) -> None:
        self._keeper.keep(number, layer.place, layer.site, group.known_by, rows)

    def _stored(self, group: Group, number: int, layer: Layer) -> Columns | None:
        """The columns from the cache, unless the rows are to be kept too and are not yet."""
        columns = self._resume.load_layer(number, layer.place, group.known_by)
        if columns is None or "skipped" in columns:
            return columns
        lacks = self._keeper.lacks(number, layer.place, layer.site, group.known_by)
        return None if lacks else columns


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
