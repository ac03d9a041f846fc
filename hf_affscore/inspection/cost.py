"""What an analysis is expected to take: memory and time, phase by phase, from shapes and measured rates.

Memory is that of one process on a CPU with batches of the default size. Sizes of weights and rows are exact; what a
forward pass holds is counted, the scratch memory of operators aside; scoring is stated at its most, which layers
need whose samples have to be assigned by the solver (:mod:`hf_affscore.score.cost`). Time is what these numbers of
operations take at the rates of this machine. Images are JPEG files of 500 x 375 pixels.
``benchmarks/inspection.md`` compares both with measured runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hf_affscore.inspection.rates import Rates, rates
from hf_affscore.models.evaluation import DEFAULT_BATCH_SIZE
from hf_affscore.options import Options
from hf_affscore.score.cost import largest_together, scoring_operations, solver_share

if TYPE_CHECKING:
    from torch import Tensor

    from hf_affscore.inspection.operations import Kind, Operations

#: Resident after Python has imported what an analysis needs, torch, transformers and datasets among it.
LIBRARIES_BYTES = 900_000_000

#: How much larger the heap becomes than what a forward pass holds at its peak: memory that is freed stays at
#: hand, in pieces that other tensors may not fit into, and convolutions have scratch memory. Measured: 3 to 4.5.
HEAP_FACTOR = 3.5

#: Seconds that Python takes for one operator of a forward pass, watched.
OPERATOR_SECONDS = 3e-5


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True)
class Work:
    """What a forward pass takes.

    Attributes:
        flops: Floating point operations of one image by kind of operator.
        moved_bytes: Bytes that operators read and write for one image.
        held_bytes: Most bytes of activations of one image at one time.
        num_operators: Operators of a forward pass, of however many images.
    """

    flops: dict[Kind, int]
    moved_bytes: int
    held_bytes: int
    num_operators: int

    @classmethod
    def of(cls, operations: Operations, num_images: int) -> Work | None:
        """The share of one image; None where the counts are not complete."""
        if operations.problem is not None:
            return None
        flops = {kind: count // num_images for kind, count in operations.flops.items()}
        moved, held = operations.moved_bytes // num_images, operations.peak_bytes // num_images
        return cls(flops, moved, held, operations.num_operators)

    def seconds(self, speed: Rates) -> float:
        """Seconds of one image in a batch of the default size."""
        computing = sum(count / speed.flops[kind] for kind, count in self.flops.items())
        python = OPERATOR_SECONDS * self.num_operators / DEFAULT_BATCH_SIZE
        return computing + self.moved_bytes / speed.moved_bytes + python


@dataclass(frozen=True)
class Cost:
    """Expected memory and time of an analysis on a CPU.

    Attributes:
        num_samples: Images that this is for; of ``"all"`` those of one group.
        libraries_bytes: Python and what it imports.
        weights_bytes: The weights, exactly.
        images_bytes: Decoded images and model inputs of a batch.
        pass_bytes: The heap that forward passes of a batch need; None where it was not counted.
        rows_bytes: Pooled rows of all calls, in float32, exactly.
        rows_in_memory_bytes: Those of them that stay in memory; the others lie in a temporary file.
        scoring_bytes: What scoring takes at most, as many layers at a time as there are threads; where that is more
            than there is, fewer are scored at a time.
        overlapping: Whether one group is scored while the next runs through the model.
        flops_per_image: Floating point operations of convolutions, matrix products and attention; None where
            they could not be counted.
        images_seconds: Decoding and resizing all images.
        forward_seconds: All forward passes; None where operations could not be counted.
        score_seconds: All scores. The solver takes longer where layers saturate.
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
    images_seconds: float
    forward_seconds: float | None
    score_seconds: float

    @property
    def parts_by_phase(self) -> dict[str, dict[str, int]]:
        """What takes memory while the model is loaded, while images run, and while layers are scored, in bytes."""
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
        """Bytes that are taken in each phase."""
        return {phase: sum(parts.values()) for phase, parts in self.parts_by_phase.items()}

    @property
    def memory_bytes(self) -> int:
        """The peak: the most that a phase takes."""
        return max(self.memory_by_phase.values())

    @property
    def seconds(self) -> float | None:
        """Images, forward passes and scores together; None where forward passes could not be counted."""
        if self.forward_seconds is None:
            return None
        return self.images_seconds + self.forward_seconds + self.score_seconds

    def to_dict(self) -> dict[str, Any]:
        """Everything, what follows from it included, in types that JSON has."""
        derived = {"memory_by_phase": self.memory_by_phase, "memory_bytes": self.memory_bytes}
        return {**asdict(self), **derived, "seconds": self.seconds}

    def summary(self) -> str:
        """Peak and time in a few words."""
        took = "time unknown" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"{self.num_samples} images: {gigabytes(self.memory_bytes)} at most, {took}"


def estimate(
    options: Options, *, widths: Sequence[int], weights_bytes: int, input_bytes: int, work: Work | None
) -> Cost:
    """The cost of an analysis.

    Args:
        options: Number of samples, memory limit.
        widths: Pooled width of every call that is scored.
        weights_bytes: The weights.
        input_bytes: Inputs of one image.
        work: Of one image; None where it could not be counted.
    """
    import torch

    whole = options.num_samples == "all"
    n = options.group_size if options.num_samples == "all" else options.num_samples
    speed, threads = rates(), torch.get_num_threads()
    rows = 2 * 4 * n * sum(widths)
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
        scoring_bytes=largest_together(n, widths, threads),
        overlapping=whole,
        flops_per_image=None if work is None else sum(work.flops.values()),
        images_seconds=n * speed.image_seconds,
        forward_seconds=None if work is None else n * work.seconds(speed),
        score_seconds=_scoring_seconds(n, widths, speed) / min(threads, max(1, len(widths))),
    )


def _scoring_seconds(num_samples: int, widths: Sequence[int], speed: Rates) -> float:
    """Seconds of one thread for all layers."""
    linear = sum(scoring_operations(num_samples, width) for width in widths) / speed.scoring
    solver = sum(solver_share(num_samples, width) for width in widths)
    return linear + solver * speed.solver_seconds


def gigabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 1e9:.1f} GB" if size < 1e12 else f"{size / 1e12:,.1f} TB"


def duration(seconds: float) -> str:
    """A time for people, rounded as its uncertainty asks for."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.0f} h"
