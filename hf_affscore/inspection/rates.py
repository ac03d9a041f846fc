"""The speed of this machine, measured once per process, in less than a second.

Seconds are processor time divided by the number of threads of torch: other work on the machine does not count,
neither here nor in the estimates.
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
        flops: Floating point operations per second, by kind of operator.
        moved_bytes: Bytes per second that an element-wise operator reads and writes.
        image_seconds: Seconds to decode a JPEG of 500 x 375 pixels, resize it to 224 x 224 and normalise it.
        scoring: Operations of :func:`~hf_affscore.score.cost.scoring_operations` per second, in one thread.
        solver_seconds: Seconds of the assignment solver for 512 samples, in one thread.
    """

    flops: dict[Kind, float]
    moved_bytes: float
    image_seconds: float
    scoring: float
    solver_seconds: float


@cache
def rates() -> Rates:
    """Measure the rates. The state of torch's random numbers is not changed."""
    import torch

    def on_images(channels: int, groups: int) -> Callable[[], object]:
        x = torch.ones(8, channels, 28, 28).to(memory_format=torch.channels_last)
        weight = torch.ones(channels, channels // groups, 3, 3).to(memory_format=torch.channels_last)
        return lambda: torch.conv2d(x, weight, padding=1, groups=groups)

    tokens, weights = torch.ones(1576, 768), torch.ones(768, 768)
    wide, result = torch.ones(2, 1576, 3072)  # allocated beforehand, as during an analysis
    with torch.inference_mode():
        flops: dict[Kind, float] = {
            "product": 2 * 1576 * 768 * 768 / _seconds(lambda: tokens @ weights),
            "convolution": 2 * 8 * 784 * 128 * 128 * 9 / _seconds(on_images(128, 1)),
            "grouped": 2 * 8 * 784 * 192 * 9 / _seconds(on_images(192, 192)),
        }
        moved = 2 * wide.nbytes / _seconds(lambda: torch.ops.aten.gelu.out(wide, out=result))
    return Rates(flops, moved, _seconds(_decoding()), *_scoring())


def _decoding() -> Callable[[], object]:
    """Decode, resize and normalise an image of waves whose file is about as large as that of a photograph."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[:375, :500]
    waves = 128 + 60 * np.sin(rows / 7) * np.cos(columns / 5) + 40 * np.sin(rows * columns / 900)
    file = io.BytesIO()
    colours = np.stack([waves, 255 - waves, waves[::-1]], axis=-1).astype(np.uint8)
    Image.fromarray(colours).save(file, "JPEG")

    def decode() -> object:
        image = Image.open(io.BytesIO(file.getvalue())).convert("RGB").resize((224, 224))
        return (np.asarray(image, np.float32) / 255 - 0.5).transpose(2, 0, 1).copy()

    return decode


def _scoring() -> tuple[float, float]:
    """Operations per second for a layer whose pairing is quickly proved optimal, and seconds of the solver."""
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
    """Processor seconds of one run: the minimum of three after a warm-up run."""
    import torch

    run()
    taken = []
    for _ in range(3):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return max(min(taken), 1e-6) / (threads or torch.get_num_threads())
