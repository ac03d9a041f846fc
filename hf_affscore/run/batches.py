"""Cuts the stream of images into batches, and decodes and preprocesses the batches of this process.

Images are numbered by their position in the stream, and batches are cut by position before anything is decoded. So
every batch has the same images whatever the number of processes, an image that cannot be decoded moves no other
image to another batch, and batches that an interrupted run has finished are recognised.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_affscore.errors import InputError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.identity import fingerprint, path_of
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.evaluation import batch_size, on_cpu
from hf_affscore.models.loading import Checkpoint
from hf_affscore.options import Options
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.stored import Batch, Place, digest

if TYPE_CHECKING:
    import torch

    from hf_affscore.images.decoding import Decoded

Item = tuple[int, Any]  # position in the stream, encoded image


class _Planned(NamedTuple):
    """A batch to be prepared: positions, places and identities of its images, and its result if it is cached."""

    positions: list[int]
    places: list[Place]
    images: list[str]
    finished: Batch | None


@dataclass(frozen=True)
class PreparedBatch:
    """A batch that is ready for the model, or that an interrupted run has finished.

    Attributes:
        start: Position of its first image in the stream.
        positions: Positions of the images that could be decoded.
        inputs: Model inputs by name.
        undecodable: Position and reason for each image that could not be decoded.
        images: The identity of each image, decoded or not.
        fingerprints: Of the pixels of each image in ``inputs``.
        places: Position in the stream, row number and file of each of these images.
        finished: Its result from the cache; it then has no inputs.
    """

    start: int
    positions: list[int]
    inputs: dict[str, torch.Tensor]
    undecodable: list[tuple[int, str]]
    images: list[str]
    fingerprints: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    finished: Batch | None = None


class BatchLoader:
    """Takes images from a stream, in order, and prepares this process's batches.

    Args:
        checkpoint: The preprocessing, and the device that batches go to.
        stream: The images.
        options: Batch size, ``max_images``.
        processes: The processes that share the work.
        resume: Where finished batches are stored.

    Attributes:
        taken: Images taken from the stream so far, by all processes.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        stream: ImageStream,
        options: Options,
        *,
        processes: Processes,
        resume: ResumeCache,
    ) -> None:
        self.taken = 0
        self._checkpoint = checkpoint
        self._stream = stream
        self._size = batch_size(options, checkpoint.module)
        self._processes = processes
        self._resume = resume
        self._encoded = stream.resumed()
        self._items: Iterator[Item] = enumerate(itertools.islice(self._encoded, options.max_images))
        self._closed = False

    def load(self, wanted: int, numbers: Iterator[int]) -> Iterator[PreparedBatch]:
        """This process's batches out of the next ``wanted`` images of the stream.

        One batch is prepared ahead unless the model runs on the CPU. There the model uses all cores itself, and
        each of its operations would wait for the thread that decodes.

        Args:
            wanted: Images to take; fewer if the stream ends.
            numbers: Gives the batches their numbers, by which they are assigned to processes.
        """
        import torch

        batches = self._stream.fetched(map(self._planned, self._own_chunks(wanted, numbers)))
        with closing(batches), ThreadPoolExecutor(torch.get_num_threads(), "decode") as decoders:
            if on_cpu(self._checkpoint.module):
                yield from (self._prepare(*batch, decoders) for batch in batches)
                return
            with ThreadPoolExecutor(max_workers=1) as thread:
                ahead: Future[PreparedBatch] | None = None
                for batch in batches:
                    ready, ahead = ahead, thread.submit(self._prepare, *batch, decoders)
                    if ready is not None:
                        yield ready.result()
                if ahead is not None:
                    yield ahead.result()

    def skip(self, count: int, images: str) -> bool:
        """Skip the next ``count`` images if they are those that an interrupted run has scored.

        Args:
            count: Number of images that the run took.
            images: Their common identity.

        Returns:
            Whether they were skipped; if not, the stream still continues with them.
        """
        chunk = list(itertools.islice(self._items, count))
        same = self._processes.is_main and digest(self._identities(chunk)) == images
        if not self._processes.broadcast(same):
            self._items = itertools.chain(chunk, self._items)
            return False
        self.taken += len(chunk)
        return True

    def close(self) -> None:
        """Release the stream, which may hold many encoded images; nothing can be loaded afterwards."""
        if not self._closed:
            self._closed = True
            self._items = iter(())
            self._stream.leave(self._encoded)

    def _own_chunks(self, wanted: int, numbers: Iterator[int]) -> Iterator[list[Item]]:
        """The encoded images of this process's batches, out of the next ``wanted`` of the stream."""
        while chunk := list(itertools.islice(self._items, min(self._size, wanted))):
            wanted -= len(chunk)
            self.taken += len(chunk)
            if self._processes.is_mine(next(numbers)):
                yield chunk

    def _identities(self, chunk: list[Item]) -> list[str]:
        pixel_range = self._stream.metadata.get("pixel_range")
        return [self._resume.identify(*item, pixel_range) for item in chunk]

    def _planned(self, chunk: list[Item]) -> tuple[_Planned, list[Any]]:
        """A batch and its encoded images; no images if an interrupted run has finished it."""
        positions, items = [position for position, _ in chunk], [item for _, item in chunk]
        images = self._identities(chunk)
        finished = self._resume.load_batch(positions[0], images)
        places = [Place(position, self._stream.row(position), path_of(item)) for position, item in chunk]
        planned = _Planned(positions, places, images, finished)
        return planned, [] if finished is not None else items

    def _prepare(self, planned: _Planned, items: list[Any], decoders: ThreadPoolExecutor) -> PreparedBatch:
        start = planned.positions[0]
        if planned.finished is not None:
            return PreparedBatch(start, [], {}, [], planned.images, finished=planned.finished)
        # Several threads for files and bytes only: open images may be the same object.
        encoded = all(isinstance(item, dict | bytes) for item in items)
        read = decoders.map(self._read, items) if encoded else map(self._read, items)
        images, undecodable = {}, []
        for position, image in zip(planned.positions, read, strict=True):
            if isinstance(image, Undecodable):
                undecodable.append((position, str(image)))
            else:
                images[position] = image
        inputs, refused = self._inputs(images) if images else ({}, {})
        undecodable = sorted([*undecodable, *refused.items()])
        taken = [place for place in images if place not in refused]
        seen = [fingerprint(images[place]) for place in taken]
        places = [place for place in planned.places if place.position in set(taken)]
        return PreparedBatch(start, taken, inputs, undecodable, planned.images, seen, places)

    def _inputs(self, images: dict[int, Decoded]) -> tuple[dict[str, torch.Tensor], dict[int, str]]:
        """The images as model inputs, and the reasons for refused images by position.

        An image is refused if the processor fails on it alone and accepts an ordinary image.

        Raises:
            InputError: The processor itself fails, or the images do not fit into one batch.
        """
        from PIL import Image

        try:
            return self._checkpoint.inputs(list(images.values())), {}
        except InputError:
            refused = {place: why for place, image in images.items() if (why := self._refusal(image))}
            ordinary: Any = Image.new("RGB", (256, 256))
            if isinstance(next(iter(images.values())), list):  # clips
                ordinary = [ordinary] * (self._checkpoint.clip_length or 1)
            if not refused or self._refusal(ordinary):
                raise
        taken = [image for place, image in images.items() if place not in refused]
        return (self._checkpoint.inputs(taken) if taken else {}), refused

    def _refusal(self, image: Decoded) -> str | None:
        """The message of the processor if it fails on one image alone, else None."""
        try:
            self._checkpoint.inputs([image])
        except InputError as error:
            why = str(error.__cause__ or error).splitlines()[:1]
            return f"{self._checkpoint.preprocessing['class']} cannot take it: {' '.join(why)}".rstrip(": ")
        return None

    def _read(self, item: Any) -> Decoded | Undecodable:
        try:
            return self._stream.decode(item)
        except Undecodable as error:
            return error
