"""What a forward pass of a network takes: elements of activations, parameters, operations, seconds."""

from __future__ import annotations

import time

from torch import nn

from hf_affscore.capture import Capture
from hf_affscore.inspection.operations import Operations
from hf_affscore.simplify.report import Costs
from hf_affscore.simplify.sample import Part, logits

#: Forward passes that are timed; the fastest counts, which other programs have disturbed least.
TIMED = 7


def costs(original: nn.Module, network: nn.Module, images: Part) -> tuple[Costs, Costs]:
    """What the two networks take; timed in turn, so that what else the machine does meets both."""
    batch = images.first(images.size)
    times: tuple[list[float], list[float]] = [], []
    for _ in range(TIMED):
        for each, its in zip((original, network), times, strict=True):
            begin = time.perf_counter()
            logits(each, batch)
            its.append(time.perf_counter() - begin)
    before, after = (
        Costs(
            elements=sum(activation_elements(each, batch).values()),
            parameters=num_parameters(each),
            operations=_operations(each, batch),
            seconds=min(its),
        )
        for each, its in zip((original, network), times, strict=True)
    )
    return before, after


def activation_elements(model: nn.Module, images: Part) -> dict[tuple[str, str, int], int]:
    """Entries for one image of every activation outside attention, by module, name and number of the call."""
    with Capture(model, lambda tensor, site: tensor.numel()) as seen:
        images.first(1).run_through(model)
    return {(call.site.module, call.site.activation, call.site.call): call.pre for call in seen.calls}


def num_parameters(module: nn.Module) -> int:
    """Weights and biases, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _operations(module: nn.Module, batch: Part) -> int | None:
    with Operations() as operations:
        logits(module, batch)
    return None if operations.problem is not None else sum(operations.flops.values()) // len(batch)
