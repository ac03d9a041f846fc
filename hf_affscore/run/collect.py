"""Images through the model: batches dealt out to processes, and the pooled rows that they leave behind.

Images are numbered by their position in the stream, and batches are cut by position before anything is
decoded. So every batch holds the same images whatever the number of processes, an image that cannot be decoded
moves no other image to another batch, and a batch that a killed run had finished is recognised.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_affscore.capture import Capture, Selection, Watched
from hf_affscore.capture.features import Features
from hf_affscore.capture.sites import CallSite, SkippedCall
from hf_affscore.capture.summary import Summarize, Summary
from hf_affscore.errors import AffscoreError, ModelError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.evaluation import batch_size, on_cpu
from hf_affscore.models.loading import Checkpoint
from hf_affscore.options import Options
from hf_affscore.run.memory import give_memory_back
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import Batch, ResumeCache

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

    from hf_affscore.images.decoding import Decoded

#: How often free memory goes back to the system: what a forward pass frees, the next one takes up at no cost.
BATCHES_BETWEEN_RETURNS = 64

Item = tuple[int, Any]  # position in the stream, encoded image


@dataclass
class Group:
    """The samples that are scored together, as far as this process has them.

    Attributes:
        features: Pooled rows of this process's batches.
        starts: Positions of the first images of this process's batches.
        taken: Images taken from the stream, by all processes.
        skipped: Calls that were passed over, with the reason.
        num_samples: Images, of all processes.
        num_batches: Batches with at least one image, of all processes.
        undecodable: A sentence about each image that could not be read, of all processes.
        complete: Whether the stream gave as many images as were asked for.
    """

    features: Features
    starts: list[int] = field(default_factory=list)
    taken: int = 0
    skipped: dict[CallSite, str] = field(default_factory=dict)
    num_samples: int = 0
    num_batches: int = 0
    undecodable: list[str] = field(default_factory=list)
    complete: bool = True

    def add(self, start: int, batch: Batch) -> None:
        """Keep a batch of this process."""
        self.starts.append(start)
        self.skipped |= {skip.site: skip.reason for skip in batch.skipped}
        if batch.num_images:
            self.features.add(start, batch.calls)


class _Planned(NamedTuple):
    """A batch that is due: where its images are in the stream, and what the cache has of it."""

    positions: list[int]
    finished: Batch | None


@dataclass(frozen=True)
class _Prepared:
    """A batch on its way to the model: where it starts, and its images or what became of them before."""

    start: int
    positions: list[int]
    inputs: dict[str, torch.Tensor]
    undecodable: list[tuple[int, str]]
    finished: Batch | None = None


class Collector:
    """Draws groups of samples from a stream, one after the other.

    Args:
        checkpoint: The model and its preprocessing.
        stream: The images.
        options: Batch size, pooling, what to capture.
        processes: The processes that share the work.
        resume: Where finished batches are kept.
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
        self.selection = Selection(options.include, options.exclude)
        self.watched = Watched(checkpoint.module, self.selection)
        self._checkpoint = checkpoint
        self._stream = stream
        self._options = options
        self._processes = processes
        self._resume = resume
        self._progress = progress
        self._encoded = stream.resumed()
        self._items: Iterator[Item] = enumerate(itertools.islice(self._encoded, options.max_images))
        self._closed = False
        self._taken = 0
        self._patterns_checked = False
        self._fits = sys.maxsize  # images that fit into one forward pass, as far as is known
        self._channels_last = True  # in memory, where a convolution takes three quarters of the time on a CPU

    def group(self, size: int, unless: Callable[[], BaseException | None] | None = None) -> Group:
        """The next ``size`` images through the model, or as many as there are.

        ``unless`` is asked between batches for an error that makes them of no use.

        Images that cannot be decoded are replaced by later ones, in rounds: all processes count together
        what is missing, and go on from the same position.
        """
        group = Group(Features(self._options.memory_limit * 1e9))
        summarize = Summarize(
            self._options.pooling,
            num_samples=self._sparsity_range(size),
            sparsity_samples=self._options.sparsity_samples,
            seed=self._options.seed,
        )
        first = self._taken
        numbers = itertools.count()
        while group.complete and group.num_samples < size:
            wanted, before = size - group.num_samples, self._taken
            batches = []
            for prepared in self._prepared(self._own_chunks(wanted, numbers)):
                if unless is not None and (error := unless()) is not None:
                    raise error
                batch = prepared.finished or self._run(prepared, first, summarize)
                self._check_patterns(batch)
                if prepared.finished is None:
                    self._resume.save_batch(prepared.start, batch)
                group.add(prepared.start, batch)
                batches.append((batch.num_images, batch.undecodable))
                if len(batches) % BATCHES_BETWEEN_RETURNS == 0:
                    give_memory_back()
                self._show(batch.num_images)
            everybody = list(itertools.chain.from_iterable(self._processes.gather(batches)))
            group.num_samples += sum(images for images, _ in everybody)
            group.num_batches += sum(images > 0 for images, _ in everybody)
            unread = itertools.chain.from_iterable(reasons for _, reasons in everybody)
            group.undecodable += [f"image {position}: {reason}" for position, reason in sorted(unread)]
            group.taken += self._taken - before
            group.complete = self._taken - before == wanted
        if not group.complete:
            self._progress.total = self._progress.n  # there were no more
            self._progress.refresh()
        return group

    def close(self) -> None:
        """Let go of the stream, which may hold many encoded images; there will be no further group."""
        if not self._closed:
            self._closed = True
            self._items = iter(())
            self._stream.leave(self._encoded)

    def _sparsity_range(self, size: int) -> int:
        """How many of the next images to draw those from that sparsity is measured on.

        A shuffled stream is in random order already: its first images are a random draw, and there are as many
        of them as there can be, also where the stream is shorter than was asked for.
        """
        if self._options.shuffle:
            return min(size, self._options.sparsity_samples)
        length = len(self._stream.items) if isinstance(self._stream.items, Sized) else size
        return min(size, length)

    def skip(self, taken: int) -> None:
        """Pass over images that an interrupted run has already scored."""
        self._taken += sum(1 for _ in itertools.islice(self._items, taken))

    def _own_chunks(self, wanted: int, numbers: Iterator[int]) -> Iterator[list[Item]]:
        """The encoded images of this process's batches, out of the next ``wanted`` of the stream."""
        size = batch_size(self._options, self._checkpoint.module)
        while chunk := list(itertools.islice(self._items, min(size, wanted))):
            wanted -= len(chunk)
            self._taken += len(chunk)
            if self._processes.is_mine(next(numbers)):
                yield chunk

    def _prepared(self, chunks: Iterator[list[Item]]) -> Iterator[_Prepared]:
        """Batches decoded and preprocessed; one ahead, where the model is at work elsewhere than on the CPU.

        On a CPU the model takes all cores itself, and each of its operations would wait for the one that decodes.
        """
        import torch

        batches = self._stream.fetched(map(self._planned, chunks))
        with closing(batches), ThreadPoolExecutor(torch.get_num_threads(), "decode") as decoders:
            if on_cpu(self._checkpoint.module):
                yield from (self._prepare(*batch, decoders) for batch in batches)
                return
            with ThreadPoolExecutor(max_workers=1) as thread:
                ahead: Future[_Prepared] | None = None
                for batch in batches:
                    ready, ahead = ahead, thread.submit(self._prepare, *batch, decoders)
                    if ready is not None:
                        yield ready.result()
                if ahead is not None:
                    yield ahead.result()

    def _planned(self, chunk: list[Item]) -> tuple[_Planned, list[Any]]:
        """A batch, and the encoded images that it takes: none if an interrupted run has finished it."""
        positions, items = [position for position, _ in chunk], [item for _, item in chunk]
        finished = self._resume.load_batch(positions[0])
        if finished is not None and finished.num_images + len(finished.undecodable) == len(chunk):
            return _Planned(positions, finished), []
        return _Planned(positions, None), items

    def _prepare(self, planned: _Planned, items: list[Any], decoders: ThreadPoolExecutor) -> _Prepared:
        start = planned.positions[0]
        if planned.finished is not None:
            return _Prepared(start, [], {}, [], planned.finished)
        # Files and bytes by several threads; images that are open already may be one and the same.
        encoded = all(isinstance(item, dict | bytes) for item in items)
        read = decoders.map(self._read, items) if encoded else map(self._read, items)
        images, undecodable = {}, []
        for position, image in zip(planned.positions, read, strict=True):
            if isinstance(image, Undecodable):
                undecodable.append((position, str(image)))
            else:
                images[position] = image
        inputs = self._checkpoint.inputs(list(images.values())) if images else {}
        return _Prepared(start, list(images), inputs, undecodable)

    def _read(self, item: Any) -> Decoded | Undecodable:
        try:
            return self._stream.decode(item)
        except Undecodable as error:
            return error

    def _run(self, prepared: _Prepared, first: int, summarize: Summarize) -> Batch:
        """The batch through the model, in as many pieces as memory asks for.

        The first batch of a group goes in two of different sizes: a first axis that only happens to be as long
        as the batch does not change with it, and is found out.
        """
        from accelerate.utils.memory import should_reduce_batch_size

        pieces: list[Capture[Summary]] = []
        done, count = 0, len(prepared.positions)
        while done < count:
            end = count - 1 if prepared.start == first and done < count - 1 else count
            piece = slice(done, min(done + self._fits, end))
            positions = prepared.positions[piece]
            summarize.start([position - first for position in positions])
            inputs = {name: value[piece] for name, value in prepared.inputs.items()}
            try:
                seen = self._forward(inputs, summarize)
            except AffscoreError:
                raise
            except Exception as error:  # a model may raise anything, often AssertionError
                if should_reduce_batch_size(error):
                    if len(positions) == 1:
                        raise self._failure(error, inputs) from error
                    self._fits = len(positions) // 2
                elif self._channels_last:
                    self._channels_last = False
                else:
                    raise self._failure(error, inputs) from error
                continue
            if self._channels_last and seen.by_strides:
                self._channels_last = False
                continue
            pieces.append(seen)
            done += len(positions)
        calls, uneven = _joined(pieces)
        return Batch(
            calls=calls,
            skipped=[*itertools.chain.from_iterable(piece.skipped for piece in pieces), *uneven],
            num_images=count,
            undecodable=prepared.undecodable,
        )

    def _forward(self, inputs: dict[str, torch.Tensor], summarize: Summarize) -> Capture[Summary]:
        with Capture(self.watched, summarize) as seen:
            self._checkpoint.forward({name: self._laid_out(value) for name, value in inputs.items()})
        return seen

    def _laid_out(self, images: torch.Tensor) -> torch.Tensor:
        """A copy, which the model may overwrite, channels last until that is found not to suit it.

        A convolution goes by the layout of its input, whatever that of its weights. ``view`` and whatever else
        wants its values in order fail then, and ``as_strided`` would give something else.
        """
        import torch

        like = torch.channels_last if self._channels_last and images.ndim == 4 else torch.contiguous_format
        return images.clone(memory_format=like)

    def _failure(self, error: Exception, inputs: dict[str, torch.Tensor]) -> ModelError:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
        why = str(error) or type(error).__name__
        return ModelError(
            f"{self._checkpoint.metadata['class']} failed on a batch with {shapes}: {why}. "
            "Expected a model that takes images alone; check the size of the images and the processor."
        )

    def _check_patterns(self, batch: Batch) -> None:
        """Find out with the first images, not after the last, that include or exclude are misspelt."""
        if batch.num_images and not self._patterns_checked:
            sites = [site for site, _, _ in batch.calls] + [skip.site for skip in batch.skipped]
            self.selection.check_all_matched(sites)
            self._patterns_checked = True

    def _show(self, images: int) -> None:
        import psutil

        memory = psutil.Process().memory_info().rss
        self._progress.set_postfix_str(f"{memory / 1e9:.1f} GB", refresh=False)
        self._progress.update(images)


def _joined(
    pieces: list[Capture[Summary]],
) -> tuple[list[tuple[CallSite, Summary, Summary]], list[SkippedCall]]:
    """The calls of a batch that went through the model in pieces, as if it had gone in one.

    A call that some pieces lack stays out; the batch then counts as without it. So does one whose pieces differ
    in width, which is said.
    """
    if not pieces:
        return [], []
    first, *others = ({call.site: (call.pre, call.post) for call in piece.calls} for piece in pieces)
    joined, uneven = [], []
    for site, pair in first.items():
        pairs = [pair, *(other[site] for other in others if site in other)]
        widths = sorted({pre.rows.shape[1] for pre, _ in pairs} | {post.rows.shape[1] for _, post in pairs})
        if len({(pre.rows.shape[1], post.rows.shape[1]) for pre, post in pairs}) > 1:
            uneven.append(SkippedCall(site, f"its pooled width differs between batches: {widths}"))
        elif len(pairs) == len(pieces):
            pre, post = (Summary.concatenate(side) for side in zip(*pairs, strict=True))
            joined.append((site, pre, post))
    return joined, uneven
