"""How a network is run while it is looked at: in evaluation mode, without gradients, so many images at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

#: Images per forward pass where nothing is said. On a CPU more gain little and take memory: MobileNetV2 with two
#: threads 3.4 ms an image in batches of 8 and 3.3 in batches of 16, at 0.16 GB more; ResNet-50 20.6 and 21.1.
DEFAULT_BATCH_SIZE, DEFAULT_BATCH_SIZE_ON_ACCELERATORS = 8, 64


def batch_size(options: Options, module: nn.Module) -> int:
    """Images per forward pass: as asked for, else by the device of the model."""
    default = DEFAULT_BATCH_SIZE if on_cpu(module) else DEFAULT_BATCH_SIZE_ON_ACCELERATORS
    return options.batch_size or default


def on_cpu(module: nn.Module) -> bool:
    """Whether a model runs on the CPU; one without parameters does."""
    return all(parameter.device.type == "cpu" for parameter in itertools.islice(module.parameters(), 1))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients or autocast; every module gets its own training flag back.

    Only the flags are set: a module's own ``eval()`` may do more, such as adding an adapter into weights. The
    precision is that of the weights, also inside an autocast region.
    """
    import torch

    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    kinds = {"cpu", *(parameter.device.type for parameter in module.parameters())}
    try:
        with (
            torch.no_grad(),
            ExitStack() as regions,
        ):  # not inference_mode: what is cached must stay trainable
            for kind in filter(torch.amp.is_autocast_available, kinds):
                regions.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for part in training:
            part.training = True
