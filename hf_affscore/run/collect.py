"""Groups of samples from a stream of images: runs batches through the model and keeps their pooled rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hf_affscore.capture.blocks import selection_of
from hf_affscore.capture.features import Features
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summarize
from hf_affscore.capture.update import SummarizeBlocks
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.loading import Checkpoint
from hf_affscore.options import Options
from hf_affscore.run.batches import BatchLoader, PreparedBatch
from hf_affscore.run.fit import check_fits
from hf_affscore.run.forward import BatchForward
from hf_affscore.run.memory import give_memory_back
from hf_affscore.run.probe import Behaviour
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import own_images
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.stored import Batch, Place, digest

if TYPE_CHECKING:
    from tqdm import tqdm

#: Batches after which free memory is returned to the system; in between, forward passes reuse it at no cost.
BATCHES_BETWEEN_RETURNS = 64


@dataclass
class Group:
    """The samples that are scored together: the rows of this process, the counts of all processes.

    Attributes:
        features: Pooled rows of this process's batches.
        starts: Positions of the first images of this process's batches.
        taken: Images taken from the stream, by all processes.
        skipped: Skipped calls of this process, with the reason.
        num_samples: Images, of all processes.
        num_batches: Batches with at least one image, of all processes.
        undecodable: Position and reason for each image that could not be read, of all processes.
        complete: Whether the stream gave as many images as were asked for.
        images: The identity of each image taken, of all processes.
        fingerprints: Of the pixels of each image used, of all processes.
        places: Where each image used comes from, of all processes.
        deterministic: Whether repeated runs on one batch gave equal outputs, in all processes.
        batch_dependent: Whether an image's output depended on the rest of its batch, in any process.
    """

    features: Features
    starts: list[int] = field(default_factory=list)
    taken: int = 0
    skipped: dict[CallSite, str] = field(default_factory=dict)
    num_samples: int = 0
    num_batches: int = 0
    undecodable: list[str] = field(default_factory=list)
    complete: bool = True
    images: list[str] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    deterministic: bool = True
    batch_dependent: bool = False

    def add(self, start: int, batch: Batch) -> None:
        """Add a batch of this process."""
        self.starts.append(start)
        self.skipped |= {skip.site: skip.reason for skip in batch.skipped}
        if batch.num_images:
            self.features.add(start, batch.calls)

    def count(self, batches: Iterable[tuple[int, Batch]]) -> None:
        """Count batches of all processes, given as (start, batch); their rows are not needed."""
        for _, batch in sorted(batches, key=lambda item: item[0]):
            self.num_samples += batch.num_images
            self.num_batches += batch.num_images > 0
            self.undecodable += [f"image {position}: {reason}" for position, reason in batch.undecodable]
            self.images += batch.images
            self.fingerprints += batch.fingerprints
            self.places += batch.places
            self.deterministic &= batch.deterministic
            self.batch_dependent |= batch.batch_dependent

    @property
    def known_by(self) -> str:
        """The common identity of the images of this group, of all processes."""
        return digest(self.images)


class Collector:
    """Draws groups of samples from a stream, one after the other.

    Args:
        checkpoint: The model and its preprocessing.
        stream: The images.
        options: Batch size, pooling, what to capture.
        processes: The processes that share the work.
        resume: Where finished batches are stored.
        progress: Counts the images of this process.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        stream: ImageStream,
        options: Options,
        *,
        processes: Processes,
        resume: ResumeCache,
        progress: tqdm[Any],
    ) -> None:
        self._selection = selection_of(checkpoint.module, options.level, options.include, options.exclude)
        self._forward = BatchForward(checkpoint, self._selection)
        self._batches = BatchLoader(checkpoint, stream, options, processes=processes, resume=resume)
        self._stream = stream
        self._options = options
        self._processes = processes
        self._resume = resume
        self._progress = progress
        self._patterns_checked = False
        self._fit_checked = False

    @property
    def watched(self) -> AbstractContextManager[Any]:
        """The model with its hooks: a context that must be open while groups are drawn."""
        return self._forward.watched

    def group(self, size: int, unless: Callable[[], BaseException | None] | None = None) -> Group:
        """Run the next ``size`` images through the model, or as many as are left.

        Images that cannot be decoded are replaced by later ones, in rounds: the processes count together how many
        are missing, and continue from the same position.

        Args:
            size: Images of the group.
            unless: Called between batches; an error that it returns is raised.
        """
        group = Group(Features(self._options.memory_limit * 1e9))
        summarize = self._summarize(size)
        first = self._batches.taken
        numbers = itertools.count()
        while group.complete and group.num_samples < size:
            wanted, before = size - group.num_samples, self._batches.taken
            own: list[tuple[int, Batch]] = []
            for prepared in self._batches.load(wanted, numbers):
                if unless is not None and (error := unless()) is not None:
                    raise error
                batch = self._finished(prepared, first, summarize)
                self._check_fits(batch, size)
                group.add(prepared.start, batch)
                own.append((prepared.start, batch.without_rows()))
                if len(own) % BATCHES_BETWEEN_RETURNS == 0:
                    give_memory_back()
                self._show(batch.num_images)
            group.count(itertools.chain.from_iterable(self._processes.gather(own)))
            taken = self._batches.taken - before
            group.taken += taken
            group.complete = taken == wanted
        if not group.complete:
            self._progress.total = self._progress.n  # the stream has ended
            self._progress.refresh()
        return group

    def skip(self, taken: int, images: str) -> bool:
        """Skip the images of a group that an interrupted run has scored; False if the next images are others."""
        return self._batches.skip(taken, images)

    def close(self) -> None:
        """Release the stream, which may hold many encoded images; no group can be drawn afterwards."""
        self._batches.close()

    def _finished(self, prepared: PreparedBatch, first: int, summarize: Summarize) -> Batch:
        """The result of a batch: from the cache, or run now and stored there."""
        if prepared.finished is not None:
            self._check_patterns(prepared.finished)
            return prepared.finished
        images = [position - first for position in prepared.positions]
        behaviour = self._forward.behaviour(prepared.inputs, images, summarize) if images else Behaviour()
        calls, skipped = self._forward.run(prepared.inputs, images, summarize)
        batch = Batch(
            calls,
            skipped,
            len(images),
            prepared.undecodable,
            prepared.images,
            prepared.fingerprints,
            prepared.places,
            deterministic=behaviour.deterministic,
            batch_dependent=behaviour.batch_dependent,
        )
        self._check_patterns(batch)
        self._resume.save_batch(prepared.start, batch)
        return batch

    def _summarize(self, size: int) -> Summarize:
        """What summarises tensors of a group of ``size`` images."""
        pooling, seed = self._options.pooling, self._options.seed
        if self._options.level == "blocks":
            return SummarizeBlocks(pooling, seed=seed)
        measured = self._options.sparsity_samples
        count = self._sparsity_range(size)
        return Summarize(pooling, num_samples=count, sparsity_samples=measured, seed=seed)

    def _sparsity_range(self, size: int) -> int:
        """How many of the next images the sample for sparsity is drawn from.

        A shuffled stream is already in random order, so its first images are a random sample, which stays as large
        as possible if the stream is shorter than was asked for.
        """
        if self._options.shuffle:
            return min(size, self._options.sparsity_samples)
        return min(size, self._stream.length or size)

    def _check_patterns(self, batch: Batch) -> None:
        """Check include and exclude for misspelt patterns with the first images, not after the last."""
        if batch.num_images and not self._patterns_checked:
            sites = [site for site, _, _ in batch.calls] + [skip.site for skip in batch.skipped]
            self._selection.check_all_matched(sites)
            self._patterns_checked = True

    def _check_fits(self, batch: Batch, size: int) -> None:
        """Check with the first images, which show the widths, whether a group of ``size`` fits into memory."""
        if batch.num_images and not self._fit_checked:
            together = min(size, self._stream.length or size, self._options.max_images or size)
            check_fits([pre.rows.shape[1] for _, pre, _ in batch.calls], together, self._options)
            self._fit_checked = True

    def _show(self, images: int) -> None:
        import psutil

        self._progress.total = own_images(self._stream, self._options, self._processes)  # known after reading
        memory = psutil.Process().memory_info().rss
        self._progress.set_postfix_str(f"{memory / 1e9:.1f} GB", refresh=False)
        self._progress.update(images)
