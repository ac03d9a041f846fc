"""A checkpoint analysed by its name, against the module that a person loads by hand and an independent count."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import BaseImageProcessor

import hf_affscore as ha
from hf_affscore.models.evaluation import evaluating
from tests.capture.coverage import Count


def photographs(number: int = 8) -> list[Image.Image]:
    """Small smooth pictures of different sizes."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (8, 9, 3), dtype=np.uint8) for _ in range(number)]
    return [
        Image.fromarray(each).resize((40 + 3 * i, 48), Image.Resampling.BICUBIC)
        for i, each in enumerate(pictures)
    ]


def check(
    checkpoint: Path | str,
    module: nn.Module,
    processor: Any,
    *,
    run: Callable[[Any], Any] | None = None,
    **options: Any,
) -> ha.Signature:
    """Analyse a checkpoint, and hold its signature against the module loaded by hand.

    Rows and skipped calls are as many as the activation operators that PyTorch dispatches; scores are those of the
    module to the bit; ``inspect`` lists the same rows.
    """
    usual: dict[str, Any] = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}
    signature = ha.analyze(checkpoint, photographs(), **usual, **options)
    by_hand = ha.analyze(module.eval(), photographs(), processor=processor, **usual)
    assert [row.affinity_score for row in signature.rows] == [row.affinity_score for row in by_hand.rows]
    assert [row.cka for row in signature.rows] == [row.cka for row in by_hand.rows]
    is_function = callable(processor) and not isinstance(processor, BaseImageProcessor)
    pixels = torch.stack([processor(image) for image in photographs(2)]) if is_function else None
    if pixels is not None and pixels.ndim == 4:
        with evaluating(module), Count(module) as count:
            (run or module)(pixels)
        assert len(signature.rows) + len(signature.skipped) == count.calls.total()
    inspected = ha.inspect(
        checkpoint, **{name: value for name, value in options.items() if name in INSPECTED}
    )
    shown = [(row.module, row.activation, row.dim) for row in inspected.rows]
    assert shown == [(row.module, row.activation, row.dim) for row in signature.rows]
    return signature


INSPECTED = ("loader", "trust_remote_code", "revision")


def of_the_test_extra(name: str) -> Any:
    """A library that the test extra installs: without it a test is skipped, but fails in CI."""
    if os.environ.get("CI") and importlib.util.find_spec(name) is None:
        pytest.fail(f"{name} is in the test extra, and is not installed")
    return pytest.importorskip(name)
