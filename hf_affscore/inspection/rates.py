"""How fast this machine computes, measured once in a process, in less than a second.

Seconds are those of the processor, shared out over the threads that torch uses: other work on the machine does not
count, neither here nor in what is estimated from it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hf_affscore.score.cost import SOLVED, scoring_operations

if TYPE_CHECKING:
    from hf_affscore.inspection.operations import Kind


@dataclass(frozen=True)
class Rates:
    """Speeds of this machine.

    Attributes:
        flops: Floating point operations a second, by kind of operator.
        moved_bytes: Bytes a second that an element-wise operator reads and writes.
        image_seconds: Seconds to decode a JPEG of 500 x 375 pixels and to resize it to 224 x 224.
        layer_seconds: Seconds to score a layer of 256 samples and 64 features, none of them in the solver.
        scoring: Operations of :func:`~hf_affscore.score.cost.scoring_operations` a second, in one thread.
        solver_seconds: Seconds of the assignment solver for 512 samples, in one thread.
    """

    flops: dict[Kind, float]
    moved_bytes: float
    image_seconds: float
    scoring: float
    solver_seconds: float


@cache
def rates() -> Rates:
    """Measure. Random numbers are not drawn from torch, whose state stays as it is."""
    import torch

    def on_images(channels: int, groups: int) -> Callable[[], object]:
        x = torch.ones(8, channels, 28, 28).to(memory_format=torch.channels_last)
        weight = torch.ones(channels, channels // groups, 3, 3).to(memory_format=torch.channels_last)
        return lambda: torch.conv2d(x, weight, padding=1, groups=groups)

    tokens, weights = torch.ones(1576, 768), torch.ones(768, 768)
    wide, result = torch.ones(2, 1576, 3072)  # memory that is there already, as it is during an analysis
    with torch.inference_mode():
        flops: dict[Kind, float] = {
            "product": 2 * 1576 * 768 * 768 / _seconds(lambda: tokens @ weights),
            "convolution": 2 * 8 * 784 * 128 * 128 * 9 / _seconds(on_images(128, 1)),
            "grouped": 2 * 8 * 784 * 192 * 9 / _seconds(on_images(192, 192)),
        }
        moved = 2 * wide.nbytes / _seconds(lambda: torch.ops.aten.gelu.out(wide, out=result))
    return Rates(flops, moved, _seconds(_decoding()), *_scoring())


def _decoding() -> Callable[[], object]:
    """Decoding and resizing a picture of waves, which is about as large as a photograph's file."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[:375, :500]
    waves = 128 + 60 * np.sin(rows / 7) * np.cos(columns / 5) + 40 * np.sin(rows * columns / 900)
    file = io.BytesIO()
    colours = np.stack([waves, 255 - waves, waves[::-1]], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(file, "JPEG")
    return lambda: Image.open(io.BytesIO(file.getvalue())).convert("RGB").resize((224, 224))


def _scoring() -> tuple[float, float]:
    """Operations a second of a layer whose pairing is soon shown to be optimal; and seconds of the solver."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    from hf_affscore.score import score_layer

    random = np.random.default_rng(0)
    rows = random.normal(size=(768, 192))
    settled = rows + 1e-3 * np.tanh(rows)
    seconds = _seconds(lambda: score_layer(rows, settled, shrinkage=True, regularization=1e-6), threads=1)
    source, target = random.normal(size=(2, SOLVED, 8))
    distances = ((source[:, None] - target) ** 2).sum(axis=-1)
    return scoring_operations(*rows.shape) / seconds, _seconds(
        lambda: linear_sum_assignment(distances), threads=1
    )


def _seconds(run: Callable[[], object], threads: int | None = None) -> float:
    """Seconds of one run after a first one that warms up: the least of three, as the processor counts."""
    import torch

    run()
    taken = []
    for _ in range(3):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return max(min(taken), 1e-6) / (threads or torch.get_num_threads())
