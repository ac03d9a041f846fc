"""What to know before reading a comparison, in sentences."""

from __future__ import annotations

import pandas as pd

from hf_affscore.comparison.agreement import some


def distance_notes(networks: pd.DataFrame) -> tuple[str, ...]:
    """What the distances between these networks (:attr:`Comparison.networks`) include besides evidence.

    Example:
        >>> distance_notes(pd.DataFrame({"activations": [4, 5], "evidence": [0, 5]}, index=["vit", "cnn"]))
        ('Distances include scores that are no evidence: 4 of 4 of vit.',)
    """
    if len(networks) < 2:
        return ()
    counts = networks[["activations", "evidence"]].itertuples(name=None)
    others = [f"{total - good} of {total} of {name}" for name, total, good in counts if good < total]
    return (f"Distances include scores that are no evidence: {some(others)}.",) if others else ()
