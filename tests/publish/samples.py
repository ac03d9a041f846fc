"""Small signatures to publish: made by hand, so that a test needs no network and no model."""

from __future__ import annotations

import math
from typing import Any

from hf_affscore.signature import Record, Signature

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"


def signature(
    model: str = "ada/net",
    *,
    scores: tuple[float, ...] = (0.25, 0.5, 0.75, math.nan),
    revision: str | None = COMMIT,
    weights: str | None = None,
    dataset: str = "ada/images",
    split: str = "test",
    activation: str = "ReLU",
    created: str = "2026-11-24T02:00:00+00:00",
    step: int | None = None,
    **statistics: float | tuple[int, ...],
) -> Signature:
    """A signature with these scores; ``statistics`` are further columns, the same in every row."""
    rows = tuple(
        Record(
            index=index,
            module=f"layer{index}.act",
            activation=activation,
            call=0,
            kind="module",
            dim=8,
            num_samples=64,
            affinity_score=score,
            reason=None if math.isfinite(score) else "NaN in the output",
            **statistics,
        )
        for index, score in enumerate(scores)
    )
    skipped = (
        Record(module="attn", activation="softmax", call=0, kind="function", reason="not elementwise"),
    )
    drawn = {} if weights is None else {"weights": weights}
    metadata: dict[str, Any] = {
        "model": {"id": model, "revision": revision, "class": "Net", "num_parameters": 123, **drawn},
        "dataset": {
            "id": dataset,
            "config": None,
            "split": split,
            "revision": OTHER_COMMIT,
            "num_samples": 64,
        },
        "preprocessing": {"class": "Processor"},
        "options": {"num_samples": 64, "seed": 0, "trust_remote_code": False},
        "environment": {"created": created, "versions": {"hf_affscore": "0.1.0", "torch": "2.14.1"}},
    }
    if step is not None:
        metadata["training"] = {"step": step}
    return Signature(rows, skipped, metadata)
