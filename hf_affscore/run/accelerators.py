"""Scoring on accelerators: which may be used, and for which layers their memory suffices.

Two devices agree in a score to about 1e-12. Its standard error and the bounds of its limit are computed in float32
and agree to four digits; the lower bound, where there are more features than samples, to two. So the option that
says where layers are scored is recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_affscore.options import Options

if TYPE_CHECKING:
    import torch
    from torch import nn


def usable(module: nn.Module, options: Options) -> list[torch.device]:
    """The accelerators that a model lies on, if they may be used for scoring and have float64."""
    if not options.device_memory_limit or options.level == "blocks":
        return []
    devices = {tensor.device for tensor in itertools.chain(module.parameters(), module.buffers())}
    return [device for device in sorted(devices, key=str) if _computes_float64(device)]


def unused(devices: Sequence[torch.device], options: Options) -> str:
    """That ``device_memory_limit`` has no effect, and why; empty if it has, or was not asked for.

    Example:
        >>> unused([], Options(device_memory_limit=4))
        'device_memory_limit is 4, but the model lies on no accelerator with float64: the CPU scores its layers.'
    """
    if devices or not options.device_memory_limit:
        return ""
    why = "the model lies on no accelerator with float64: the CPU scores its layers"
    if options.level == "blocks":
        why = "blocks are judged on the CPU"
    return f"device_memory_limit is {options.device_memory_limit}, but {why}."


def _computes_float64(device: torch.device) -> bool:
    """Whether it is an accelerator that can compute in float64: Apple's cannot, nor can some of Intel's."""
    import torch

    if device.type in ("cpu", "meta"):
        return False
    try:
        return bool(torch.ones(1, dtype=torch.float64, device="cpu").to(device).sum().item() == 1)
    except (RuntimeError, TypeError):
        return False
