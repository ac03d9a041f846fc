"""How a network is run during an analysis: in evaluation mode, without gradients, in batches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from hf_affscore.errors import InputError
from hf_affscore.options import Options
from hf_affscore.torch_settings import full_float32

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Default images per forward pass. On a CPU larger batches gain little and take memory: MobileNetV2 with two
#: threads takes 3.4 ms per image in batches of 8 and 3.3 in batches of 16 (0.16 GB more); ResNet-50 20.6 and 21.1.
DEFAULT_BATCH_SIZE, DEFAULT_BATCH_SIZE_ON_ACCELERATORS = 8, 64


def batch_size(options: Options, module: nn.Module) -> int:
    """Images per forward pass: the option, else the default for the device of the model."""
    default = DEFAULT_BATCH_SIZE if on_cpu(module) else DEFAULT_BATCH_SIZE_ON_ACCELERATORS
    return options.batch_size or default


def on_cpu(module: nn.Module) -> bool:
    """Whether a model runs on the CPU; a model without parameters does."""
    return all(parameter.device.type == "cpu" for parameter in itertools.islice(module.parameters(), 1))


def device_of(options: Options) -> torch.device:
    """The device of the model, unless it is spread over several devices.

    Raises:
        InputError: This machine has no such device.
    """
    import torch
    from accelerate import PartialState

    if not options.device:
        return torch.device(PartialState().device)
    try:
        torch.empty(1, device=options.device).item()
        return torch.device(options.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device is {options.device!r}; expected one that this machine has: {reason}"
        ) from error


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients or autocast, float32 in full precision; all is restored afterwards.

    Only the training flags are changed and restored, module by module: a module's own ``eval()`` may do more, such
    as merging an adapter into the weights. The precision is that of the weights, even inside an autocast region or
    with TF32 on. The random states of Python, numpy and torch are restored.
    """
    import torch

    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    kinds = {"cpu", *(parameter.device.type for parameter in module.parameters())}
    try:
        with ExitStack() as stack:
            stack.enter_context(random_numbers_kept(module))
            stack.enter_context(
                torch.no_grad()
            )  # not inference_mode: tensors that a module caches must stay trainable
            stack.enter_context(full_float32)
            for kind in filter(torch.amp.is_autocast_available, kinds):
                stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def random_numbers_kept(module: nn.Module) -> Iterator[None]:
    """Restore the random states of Python, numpy and torch, also on the devices of a model.

    Example:
        >>> import torch
        >>> with random_numbers_kept(torch.nn.Identity()):
        ...     first = torch.rand(())
        >>> bool(torch.rand(()) == first)
        True
    """
    import torch

    python, arrays = random.getstate(), np.random.get_state()
    devices = {parameter.device for parameter in module.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
