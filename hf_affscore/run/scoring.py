"""Rows become numbers: every site of a group is scored by one process, in threads, and all get the result."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hf_affscore.capture.features import FirstSeen, Pair, SiteFeatures, defect
from hf_affscore.capture.sites import Site
from hf_affscore.options import Options
from hf_affscore.run.collect import Group
from hf_affscore.run.journal import Journal
from hf_affscore.run.memory import give_memory_back
from hf_affscore.run.progress import bar
from hf_affscore.run.world import World
from hf_affscore.score import score_layer

if TYPE_CHECKING:
    from tqdm import tqdm

#: The columns of one row, or why there is none.
Columns: TypeAlias = dict[str, Any]
#: What one group gave: a site and its columns, in execution order.
Scores: TypeAlias = list[tuple[Site, Columns]]


class Scorer:
    """Scores one group after the other, while the images of the next run through the model.

    Args:
        options: Ridge, shrinkage, groups.
        world: The processes that share the work.
        journal: Where finished layers are kept.
    """

    def __init__(self, options: Options, *, world: World, journal: Journal) -> None:
        self._options = options
        self._world = world
        self._journal = journal
        self._progress: tqdm[Any] | None = None  # from the first group on, when there is something to count
        self._threads = ThreadPoolExecutor(max_workers=_threads())

    def start(self, group: Group, number: int) -> Scoring:
        """Exchange the rows of a group between the processes and begin to score them."""
        seen = self._world.gather(group.features.first_seen)
        sites = sorted(_earliest(seen).items(), key=lambda item: item[1])
        # Wide layers take longest: begun first, none is left over when the others are done.
        order = sorted(range(len(sites)), key=lambda place: -sites[place][1].width)
        owners = dealt([sites[place][1].width for place in order], self._world.size)
        own = owners.count(self._world.rank)
        if self._progress is None:
            self._progress = bar(own, "Scores", "layer", enabled=self._options.progress)
        elif self._progress.total is not None:
            self._progress.total += own
        work: list[Future[tuple[int, Site, Columns]]] = []
        for place, owner in zip(order, owners, strict=True):
            site, batches = sites[place][0], dict[int, Pair]()
            for part in self._world.gather_at(owner, group.features.take(site)):
                batches |= part
            if owner == self._world.rank:
                work.append(
                    self._threads.submit(self._score, number, place, site, batches, group.num_batches)
                )
        return Scoring(work, self._world)

    def _score(
        self, number: int, place: int, site: Site, batches: dict[int, Pair], num_batches: int
    ) -> tuple[int, Site, Columns]:
        """One site, in one thread; from the journal where an interrupted run had it."""
        columns = self._journal.load_layer(number, place)
        if columns is None:
            columns = self._columns(batches, num_batches)
            give_memory_back()
            self._journal.save_layer(number, place, columns)
        if self._progress is not None:
            self._progress.update()
        return place, site, columns

    def _columns(self, batches: dict[int, Pair], num_batches: int) -> Columns:
        reason = defect(batches, num_batches)
        if reason is not None:
            return {"skipped": reason}
        layer = SiteFeatures.join(batches)
        batches.clear()  # the rows, twice in memory otherwise
        numbers = score_layer(
            layer.pre,
            layer.post,
            shrinkage=self._options.shrinkage,
            regularization=self._options.regularization,
            num_groups=min(self._options.num_groups, len(layer.pre) // 2),
        )
        return {
            "dim": layer.pre.shape[1],
            "num_samples": layer.pre.shape[0],
            **numbers,
            "sparsity_pre": layer.sparsity_pre[0],
            "sparsity_pre_error": layer.sparsity_pre[1],
            "sparsity_post": layer.sparsity_post[0],
            "sparsity_post_error": layer.sparsity_post[1],
        }

    def close(self) -> None:
        """Drop what has not begun."""
        self._threads.shutdown(cancel_futures=True)
        if self._progress is not None:
            self._progress.close()


class Scoring:
    """A group on its way to its scores."""

    def __init__(self, work: list[Future[tuple[int, Site, Columns]]], world: World) -> None:
        self._work = work
        self._world = world

    def scores(self) -> Scores:
        """Wait for this process's layers and gather everybody's, in execution order."""
        own = [future.result() for future in self._work]
        everybody = itertools.chain.from_iterable(self._world.gather(own))
        return [(site, columns) for _, site, columns in sorted(everybody, key=lambda done: done[0])]


def over_groups(groups: list[Scores]) -> Scores:
    """One record per site over all groups: means, and the deviation of the score between groups.

    Numbers are averaged; ``num_samples`` is that of all groups together. ``affinity_score_group_std`` is the
    sample standard deviation over groups (divisor one less than their number).
    """
    if len(groups) == 1:
        return groups[0]
    by_site: dict[Site, list[Columns]] = {}
    for site, columns in itertools.chain.from_iterable(groups):
        by_site.setdefault(site, []).append(columns)
    return [(site, _mean(records, len(groups))) for site, records in by_site.items()]


def _mean(records: list[Columns], num_groups: int) -> Columns:
    skipped = next((record["skipped"] for record in records if "skipped" in record), None)
    if skipped is not None or len(records) < num_groups:
        return {"skipped": skipped or f"it ran in {len(records)} of {num_groups} groups only"}
    widths = sorted({record["dim"] for record in records})
    if len(widths) > 1:
        return {"skipped": f"its pooled width differs between groups: {widths}"}
    mean: Columns = {}
    for name, value in records[0].items():
        values = [record[name] for record in records]
        if name == "dim" or not isinstance(value, int | float):
            mean[name] = next((value for value in values if value is not None), None)
        else:
            mean[name] = int(np.sum(values)) if name == "num_samples" else float(np.mean(values))
    scores = [record["affinity_score"] for record in records]
    spread = {
        "affinity_score_group_mean": float(np.mean(scores)),
        "affinity_score_group_std": float(np.std(scores, ddof=1)),
    }
    return {**mean, **spread, "num_groups": num_groups}


def to_json(scores: Scores) -> list[Any]:
    """Scores as a JSON document has them."""
    return [[asdict(site), columns] for site, columns in scores]


def from_json(document: list[Any]) -> Scores:
    """What :func:`to_json` made."""
    return [(Site(**site), columns) for site, columns in document]


def _earliest(seen: Iterable[Mapping[Site, FirstSeen]]) -> dict[Site, FirstSeen]:
    earliest: dict[Site, FirstSeen] = {}
    for sites in seen:
        for site, first in sites.items():
            earliest[site] = min(earliest.get(site, first), first)
    return earliest


def dealt(widths: Iterable[int], processes: int) -> list[int]:
    """The process that scores each layer: whichever has least to do so far.

    A layer takes about as long as its width squared, and a narrow one as long as one of 300 features.

    Example:
        >>> dealt([1280, 960, 960, 32, 32], 2)
        [0, 1, 1, 0, 0]
    """
    loads = [0] * processes
    owners = []
    for width in widths:
        owners.append(loads.index(min(loads)))
        loads[owners[-1]] += width**2 + 300**2
    return owners


def _threads() -> int:
    """Threads that this process may keep busy: what torch was told, at most the cores there are."""
    import torch

    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))
