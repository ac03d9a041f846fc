"""What an analysis is expected to take, from shapes alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hf_affscore.models.evaluation import DEFAULT_BATCH_SIZE
from hf_affscore.options import Options

#: Seconds to score one layer, measured with shrinkage on two cores of an AMD EPYC: assignment of 2,048 rows,
#: and two eigendecompositions per cubed feature.
SECONDS_PER_ASSIGNMENT = 0.25
SECONDS_PER_CUBED_FEATURE = 5e-9


@dataclass(frozen=True)
class Cost:
    """Expected memory and time. Sizes of weights and rows are exact, the rest is an estimate.

    Attributes:
        num_samples: Images that this is for.
        weights_bytes: The weights, in float32.
        rows_bytes: Pooled rows of all sites, in float32; beyond the memory limit they lie in a file.
        pass_bytes: A forward pass of as many images as a CPU takes by default: four times the largest activation.
        flops_per_image: Floating point operations of convolutions, matrix products and attention.
        forward_seconds: All images, at the rate of a 3 x 3 convolution measured just now on the CPU; networks
            of small or depthwise convolutions take several times as long.
        score_seconds: All scores. An order of magnitude: the assignment takes longer where layers saturate.
    """

    num_samples: int
    weights_bytes: int
    rows_bytes: int
    pass_bytes: int
    flops_per_image: int
    forward_seconds: float
    score_seconds: float

    @property
    def memory_bytes(self) -> int:
        """Weights, a forward pass, and the rows that are kept in memory by default."""
        return self.weights_bytes + self.pass_bytes + min(self.rows_bytes, int(Options().memory_limit * 1e9))


def estimate(
    *, num_samples: int, parameters: int, widths: Sequence[int], largest: int, flops_per_image: int
) -> Cost:
    """The cost of running ``num_samples`` images and scoring layers of these pooled widths.

    Args:
        num_samples: Images.
        parameters: Weights of the model.
        widths: Pooled width of every layer.
        largest: Entries of the largest activation of one image.
        flops_per_image: Floating point operations of a forward pass of one image.

    Example:
        >>> cost = estimate(num_samples=2048, parameters=10, widths=[64, 8], largest=100, flops_per_image=0)
        >>> cost.weights_bytes, cost.rows_bytes, cost.pass_bytes
        (40, 1179648, 12800)
    """
    assignment = SECONDS_PER_ASSIGNMENT * (num_samples / 2048) ** 2
    return Cost(
        num_samples=num_samples,
        weights_bytes=4 * parameters,
        rows_bytes=2 * 4 * num_samples * sum(widths),
        pass_bytes=4 * 4 * DEFAULT_BATCH_SIZE * largest,
        flops_per_image=flops_per_image,
        forward_seconds=num_samples * flops_per_image / _flops_per_second() if flops_per_image else 0.0,
        score_seconds=sum(
            assignment + SECONDS_PER_CUBED_FEATURE * min(width, num_samples) ** 3 for width in widths
        ),
    )


def _flops_per_second() -> float:
    """The rate of a convolution as they are in the middle of a ResNet, on this machine, in about 0.1 s."""
    import torch

    batch, channels, size = 8, 128, 28
    # No random numbers: those of a training that looks at its network in between stay as they would have been.
    x = torch.ones(batch, channels, size, size).to(memory_format=torch.channels_last)
    weight = torch.ones(channels, channels, 3, 3).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.conv2d(x, weight, padding=1)
        start = time.perf_counter()
        torch.conv2d(x, weight, padding=1)
        seconds = time.perf_counter() - start
    return 2 * batch * channels * channels * 9 * size * size / seconds
