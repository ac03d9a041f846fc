"""The network that is being trained: without its wrappers, whole in one process, and not disturbed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from hf_affscore.errors import ModelError


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside wrappers for data parallel training and compilation."""
    from accelerate.utils import extract_model_from_parallel

    inner: nn.Module = extract_model_from_parallel(model, keep_torch_compile=False)
    return inner if inner is model else unwrapped(inner)


def refuse_sharded(model: nn.Module) -> None:
    """Raise where no process has the whole network: FSDP, tensor parallelism, DeepSpeed's ZeRO-3.

    Raises:
        ModelError: The weights are spread over processes.
    """
    wrapped = any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules())
    spread = any(hasattr(p, "device_mesh") or hasattr(p, "ds_id") for p in model.parameters())
    if wrapped or spread:
        raise ModelError(
            f"Expected a network that every process has whole; the weights of {type(model).__name__} are spread "
            "over processes. Train with data parallelism, or analyse saved checkpoints."
        )


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """The random number generators that training shares with the rest of its process are as before, afterwards.

    Training flags and gradients are restored by :func:`hf_affscore.models.evaluation.evaluating`.
    """
    python, arrays = random.getstate(), np.random.get_state()
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
