"""Signatures for tests, made of nothing but scores."""

from hf_affscore.signature import Record, Signature


def make_signature(scores, *, name="org/net", activations=("ReLU", "GELU"), **columns):
    """A signature with the given scores; ``columns`` are further statistics, one value per row."""
    rows = tuple(
        Record(
            index=i,
            module=f"layers.{i}.act",
            activation=activations[i % len(activations)],
            call=0,
            kind="module",
            dim=8,
            num_samples=64,
            affinity_score=float(score),
            **{column: values[i] for column, values in columns.items()},
        )
        for i, score in enumerate(scores)
    )
    metadata = {"model": {"id": name}, "dataset": {"id": "cifar10", "split": "test", "num_samples": 64}}
    return Signature(rows=rows, skipped=(), metadata=metadata)
