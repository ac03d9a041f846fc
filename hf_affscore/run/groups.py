"""From groups of samples to their scores: one group, or every group of a data set.

Groups that an interrupted run has scored come from the cache.
"""

from __future__ import annotations

import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hf_affscore.capture.sites import CallSite
from hf_affscore.run.collect import Collector, Group
from hf_affscore.run.keep import RowKeeper
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.scoring import Scorer, Scores, from_json, to_json
from hf_affscore.run.stored import digest


@dataclass
class Totals:
    """Totals over all groups: samples, unused and undecodable images, skipped calls, fingerprints of groups."""

    num_samples: int = 0
    num_groups: int = 0
    unused: int = 0
    undecodable: list[str] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    skipped: dict[CallSite, str] = field(default_factory=dict)
    deterministic: bool = True
    batch_dependent: bool = False

    def unread(self) -> str:
        """How many images could not be read, for a message; empty where all could."""
        if not self.undecodable:
            return ""
        return f" ({len(self.undecodable)} more could not be decoded, such as {self.undecodable[0]})"


class GroupScoring:
    """Draws groups, scores them, and keeps the totals.

    Args:
        collector: Runs images through the model.
        scorer: Turns rows into scores.
        processes: The processes that share the work.
        resume: Where scored groups are stored.
        keeper: Where rows are kept.

    Attributes:
        totals: What the groups used, so far.
    """

    def __init__(
        self,
        collector: Collector,
        scorer: Scorer,
        *,
        processes: Processes,
        resume: ResumeCache,
        keeper: RowKeeper,
    ) -> None:
        self.totals = Totals()
        self._collector = collector
        self._scorer = scorer
        self._processes = processes
        self._resume = resume
        self._keeper = keeper

    def one_group(self, size: int) -> list[Scores]:
        """The scores of one group of up to ``size`` samples; empty if there are fewer than two."""
        stored = self._stored(0)
        if stored is not None:
            return [stored]
        group = self._collector.group(size)
        self._collector.close()
        self._note_unread(group)
        if group.num_samples < 2:
            self._leave_out(group, is_first=True)
            return []
        return [self._start(0, group).finish()]

    def all_groups(self, size: int) -> list[Scores]:
        """The scores of every group of ``size`` samples.

        While a group is scored, the images of the next group run through the model. An incomplete last group is
        left out, since fewer samples give higher scores, unless it is the only group.
        """
        scores: list[Scores] = []
        under_way: _UnderWay | None = None
        for number in itertools.count():
            stored = self._stored(number)
            if stored is not None:
                scores += [under_way.finish(), stored] if under_way is not None else [stored]
                under_way = None
                continue
            group = self._collector.group(size, unless=under_way.failed if under_way else None)
            if not group.complete:
                self._collector.close()
            if under_way is not None:
                scores.append(under_way.finish())
                under_way = None
            self._note_unread(group)
            if group.num_samples < 2 or (scores and not group.complete):
                self._leave_out(group, is_first=not scores)
                return scores
            under_way = self._start(number, group)
            if not group.complete:
                return [*scores, under_way.finish()]
        raise AssertionError("a count has no end")

    def _stored(self, number: int) -> Scores | None:
        """The scores of a group from an interrupted run, if its images are the next ones in the stream."""
        document = self._processes.from_main(lambda: self._loaded(number))
        if document is None or not self._collector.skip(document["taken"], document["images"]):
            return None
        self._count(document["num_samples"], {CallSite(**site): why for site, why in document["skipped"]})
        self.totals.undecodable += document["undecodable"]
        self.totals.fingerprints.append(document["fingerprint"])
        self._note_behaviour(document["deterministic"], document["batch_dependent"])
        return from_json(document["scores"])

    def _loaded(self, number: int) -> dict[str, Any] | None:
        """What an interrupted run has stored of a group; None if rows are to be kept and some are not there."""
        document = self._resume.load_group(number)
        if document is None:
            return None
        scored = [
            (place, site)
            for place, (site, columns) in enumerate(from_json(document["scores"]))
            if "skipped" not in columns
        ]
        lacking = any(self._keeper.lacks(number, place, site, document["images"]) for place, site in scored)
        return None if lacking else document

    def _start(self, number: int, group: Group) -> _UnderWay:
        """Begin to score a group."""
        if self._processes.is_main:
            self._keeper.keep_images(number, group)
        skipped: dict[CallSite, str] = {}
        for each in self._processes.gather(group.skipped):
            skipped |= each
        self._count(group.num_samples, skipped)
        self._note_behaviour(group.deterministic, group.batch_dependent)
        document: dict[str, Any] = {
            "taken": group.taken,
            "images": group.known_by,
            "fingerprint": digest(group.fingerprints),
            "num_samples": group.num_samples,
            "undecodable": group.undecodable,
            "deterministic": group.deterministic,
            "batch_dependent": group.batch_dependent,
            "skipped": [[vars(site), reason] for site, reason in skipped.items()],
        }
        self.totals.fingerprints.append(document["fingerprint"])
        scoring = self._scorer.start(group, number)
        return _UnderWay(number, group, scoring, document, self._processes, self._resume)

    def _count(self, num_samples: int, skipped: dict[CallSite, str]) -> None:
        self.totals.num_groups += 1
        self.totals.num_samples += num_samples
        self.totals.skipped |= skipped

    def _note_behaviour(self, deterministic: bool, batch_dependent: bool) -> None:
        self.totals.deterministic &= deterministic
        self.totals.batch_dependent |= batch_dependent

    def _note_unread(self, group: Group) -> None:
        self.totals.undecodable += group.undecodable

    def _leave_out(self, group: Group, *, is_first: bool) -> None:
        """Drop a group that is too small. If it is the first, its images are the whole data set."""
        self.totals.unused = group.num_samples
        self.totals.num_samples += group.num_samples * is_first
        group.features.close()


@dataclass(frozen=True)
class _UnderWay:
    """A group whose layers are being scored, and the metadata that is stored with its scores."""

    number: int
    group: Group
    scoring: Future[Scores]
    about: dict[str, Any]
    processes: Processes
    resume: ResumeCache

    def failed(self) -> BaseException | None:
        """The error of the scoring if it has failed; None while it runs and if it succeeded."""
        return self.scoring.exception() if self.scoring.done() else None

    def finish(self) -> Scores:
        """Wait for the scores, store them, and remove the batches and layers that they replace."""
        scores = self.scoring.result()
        self.group.features.close()
        written = self.processes.is_main and self.resume.save_group(
            self.number, {**self.about, "scores": to_json(scores)}
        )
        if self.processes.broadcast(written):  # remove the parts only after the group is stored
            starts = self.group.starts
            self.resume.forget(
                f"layer-{self.number:06}-*.json", *(f"batch-{start:08}.npz" for start in starts)
            )
        return scores
