"""Expected memory and time of an analysis, phase by phase, from shapes and measured rates.

Memory is that of one process on a CPU with batches of the default size. Sizes of weights and rows are exact. The
memory of a forward pass is counted, without the scratch memory of operators. The memory of scoring is its maximum,
which is reached by layers that need the assignment solver (:mod:`hf_affscore.score.cost`). Time is the number of
operations divided by the rates of this machine. Which layers need the solver depends on the images: the time stated
is that with the narrow ones and a part of the others, and at most that with all that are not wide
(:data:`hf_affscore.score.cost.NARROW`). Images are assumed to be JPEG files of 500 x 375 pixels.
``benchmarks/inspection.md`` compares both with measured runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hf_affscore.inspection.rates import Rates, rates
from hf_affscore.models.evaluation import DEFAULT_BATCH_SIZE
from hf_affscore.options import Options
from hf_affscore.score.cost import (
    EXPECTED_SHARE,
    NARROW,
    block_bytes,
    block_operations,
    largest_together,
    scoring_operations,
    search_operations,
    solver_share,
)

if TYPE_CHECKING:
    from torch import Tensor

    from hf_affscore.inspection.operations import Kind, Operations

#: Resident memory after the imports of an analysis, among them torch, transformers and datasets.
LIBRARIES_BYTES = 900_000_000

#: Size of the heap relative to the peak of the activations that a forward pass holds: freed memory is fragmented
#: and not returned, and convolutions need scratch memory. Measured: 3 to 4.5.
HEAP_FACTOR = 3.5

#: Seconds of Python overhead for one operator of a captured forward pass.
OPERATOR_SECONDS = 3e-5

#: Seconds of everything else that is done for a batch: preparing it, keeping its rows.
BATCH_SECONDS = 4e-3

#: Seconds of the imports of an analysis, besides torch itself.
IMPORT_SECONDS = 3.0


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The size of tensors in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True)
class Work:
    """The work of a forward pass.

    Attributes:
        flops: Floating point operations of one image by kind of operator.
        moved_bytes: Bytes that operators read and write for one image.
        held_bytes: Peak bytes of the activations of one image.
        num_operators: Operators of a forward pass; does not depend on the number of images.
    """

    flops: dict[Kind, int]
    moved_bytes: int
    held_bytes: int
    num_operators: int

    @classmethod
    def of(cls, operations: Operations, num_images: int) -> Work | None:
        """The share of one image; None if the counts are incomplete."""
        if operations.problem is not None:
            return None
        flops = {kind: count // num_images for kind, count in operations.flops.items()}
        moved, held = operations.moved_bytes // num_images, operations.peak_bytes // num_images
        return cls(flops, moved, held, operations.num_operators)

    def seconds(self, speed: Rates) -> float:
        """Seconds of one image in a batch of the default size."""
        computing = sum(count / speed.flops[kind] for kind, count in self.flops.items())
        python = (BATCH_SECONDS + OPERATOR_SECONDS * self.num_operators) / DEFAULT_BATCH_SIZE
        return computing + self.moved_bytes / speed.moved_bytes + python


@dataclass(frozen=True)
class Cost:
    """Expected memory and time of an analysis on a CPU.

    Attributes:
        num_samples: Number of images; for ``"all"``, of one group.
        libraries_bytes: Python and its imports.
        weights_bytes: The weights, exact.
        images_bytes: Decoded images and model inputs of a batch.
        pass_bytes: Heap of the forward pass of a batch; None if it could not be counted.
        rows_bytes: Pooled rows of all calls in float32, exact.
        rows_in_memory_bytes: The part of these rows that is kept in memory; the rest is in a temporary file.
        scoring_bytes: Maximum for scoring, with one layer per thread at a time; fewer layers are scored at a time
            if the memory does not suffice.
        overlapping: Whether one group is scored while the next runs through the model.
        flops_per_image: Floating point operations of convolutions, matrix products and attention; None if they
            could not be counted.
        import_seconds: Imports of an analysis, besides torch itself.
        images_seconds: Decoding, resizing and normalising all images.
        forward_seconds: All forward passes; None if operations could not be counted.
        score_seconds: All scores, if narrow layers need the solver, and a part of the others that are not wide.
        score_seconds_at_most: All scores, if all but wide layers need it.
    """

    num_samples: int
    libraries_bytes: int
    weights_bytes: int
    images_bytes: int
    pass_bytes: int | None
    rows_bytes: int
    rows_in_memory_bytes: int
    scoring_bytes: int
    overlapping: bool
    flops_per_image: int | None
    import_seconds: float
    images_seconds: float
    forward_seconds: float | None
    score_seconds: float
    score_seconds_at_most: float

    @property
    def parts_by_phase(self) -> dict[str, dict[str, int]]:
        """Bytes by purpose while the model is loaded, while images run, and while layers are scored."""
        loading = {"libraries": self.libraries_bytes, "weights": self.weights_bytes}
        rows = {"rows": self.rows_in_memory_bytes}
        running = {"images": self.images_bytes, "forward passes": self.pass_bytes or 0}
        scoring = {"scoring": self.scoring_bytes}
        if self.overlapping:  # one group is scored while the next runs
            scoring |= {"rows of the next group": self.rows_in_memory_bytes, **running}
        return {
            "loading": loading,
            "forward": {**loading, **rows, **running},
            "scoring": {**loading, **rows, **scoring},
        }

    @property
    def memory_by_phase(self) -> dict[str, int]:
        """Bytes in each phase."""
        return {phase: sum(parts.values()) for phase, parts in self.parts_by_phase.items()}

    @property
    def memory_bytes(self) -> int:
        """The peak: the maximum over the phases."""
        return max(self.memory_by_phase.values())

    @property
    def seconds(self) -> float | None:
        """Imports, images, forward passes and scores together; None if forward passes could not be counted."""
        if self.forward_seconds is None:
            return None
        return self.import_seconds + self.images_seconds + self.forward_seconds + self.score_seconds

    @property
    def seconds_at_most(self) -> float | None:
        """The same if all layers that are not wide need the solver."""
        if self.seconds is None:
            return None
        return self.seconds - self.score_seconds + self.score_seconds_at_most

    @property
    def may_take_longer(self) -> bool:
        """Whether the most time is more than the stated time by half."""
        most, stated = self.seconds_at_most, self.seconds
        return most is not None and stated is not None and most > 1.5 * stated

    def to_dict(self) -> dict[str, Any]:
        """All fields and derived values, in JSON types."""
        derived = {"memory_by_phase": self.memory_by_phase, "memory_bytes": self.memory_bytes}
        times = {"seconds": self.seconds, "seconds_at_most": self.seconds_at_most}
        return {**asdict(self), **derived, **times}

    def summary(self) -> str:
        """Peak memory and time in a few words; the most time only where it is a multiple."""
        took = "time unknown" if self.seconds is None else f"about {duration(self.seconds)}"
        if self.seconds_at_most is not None and self.may_take_longer:
            took += f", up to {duration(self.seconds_at_most)} if the images make most layers hard to pair"
        return f"{self.num_samples} images: {gigabytes(self.memory_bytes)} at most, {took}"


def estimate(
    options: Options, *, widths: Sequence[int], weights_bytes: int, input_bytes: int, work: Work | None
) -> Cost:
    """The cost of an analysis.

    Args:
        options: Number of samples, memory limit.
        widths: Pooled width of every scored call.
        weights_bytes: Size of the weights.
        input_bytes: Size of the inputs of one image.
        work: The work of one image; None if it could not be counted.
    """
    import torch

    whole, blocks = options.num_samples == "all", options.level == "blocks"
    n = options.group_size if options.num_samples == "all" else options.num_samples
    speed, threads = rates(), torch.get_num_threads()
    rows, at_once = 2 * 4 * n * sum(widths), min(threads, max(1, len(widths)))

    def scoring_seconds(share: float) -> float:
        if blocks:
            return sum(block_operations(n, width) for width in widths) / speed.scoring
        return _scoring_seconds(n, widths, speed, share=share)

    return Cost(
        num_samples=n,
        libraries_bytes=LIBRARIES_BYTES,
        weights_bytes=weights_bytes,
        images_bytes=3
        * DEFAULT_BATCH_SIZE
        * input_bytes,  # images, inputs, and the copy that a model may overwrite
        pass_bytes=None if work is None else int(HEAP_FACTOR * DEFAULT_BATCH_SIZE * work.held_bytes),
        rows_bytes=rows,
        rows_in_memory_bytes=min(rows, int(options.memory_limit * 1e9)),
        scoring_bytes=max(map(partial(block_bytes, n), widths), default=0) * at_once
        if blocks
        else largest_together(n, widths, threads),
        overlapping=whole,
        flops_per_image=None if work is None else sum(work.flops.values()),
        import_seconds=IMPORT_SECONDS,
        images_seconds=n * speed.image_seconds,
        forward_seconds=None if work is None else n * work.seconds(speed),
        score_seconds=scoring_seconds(EXPECTED_SHARE) / at_once,
        score_seconds_at_most=scoring_seconds(1.0) / at_once,
    )


def _scoring_seconds(num_samples: int, widths: Sequence[int], speed: Rates, *, share: float) -> float:
    """Seconds to score all layers in one thread, if this share of those that are not narrow need the solver."""
    total = 0.0
    for width in widths:
        search = search_operations(num_samples, width) / speed.scoring
        search += solver_share(num_samples, width) * speed.solver_seconds
        total += scoring_operations(num_samples, width) / speed.scoring
        total += search * (1 if width <= NARROW else share)
    return total


def gigabytes(size: float) -> str:
    """A size as readable text."""
    return f"{size / 1e9:.1f} GB" if size < 1e12 else f"{size / 1e12:,.1f} TB"


def duration(seconds: float) -> str:
    """A time as readable text, rounded to its uncertainty."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.0f} h"
