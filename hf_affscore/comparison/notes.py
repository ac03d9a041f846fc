"""What to know before reading a comparison, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from hf_affscore.comparison.agreement import some
from hf_affscore.comparison.statistics import FEW
from hf_affscore.signature import Signature, images

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

#: What is said of correlations over few scores.
FEW_SCORES = f"with fewer than {FEW} scores"


def distance_notes(networks: pd.DataFrame) -> tuple[str, ...]:
    """What to know of the distances between these networks (:attr:`Comparison.networks`), a sentence each.

    Example:
        >>> distance_notes(pd.DataFrame({"activations": [4, 5], "evidence": [0, 5]}, index=["vit", "cnn"]))
        ('Distances include scores that are no evidence: 4 of 4 of vit.',)
    """
    if len(networks) < 2:
        return ()
    counts = networks[["activations", "evidence"]].itertuples(name=None)
    others = [f"{total - good} of {total} of {name}" for name, total, good in counts if good < total]
    said = [f"Distances include scores that are no evidence: {some(others)}."] if others else []
    totals = networks["activations"].sort_values(kind="stable")
    if totals.iloc[-1] >= 2 * totals.iloc[0]:
        least, most = (f"{totals.iloc[place]} ({totals.index[place]})" for place in (0, -1))
        said.append(
            f"A distance grows with the number of activations, here {least} to {most}, even where scores are alike."
        )
    return tuple(said)


def table_notes(comparison: Comparison) -> tuple[str, ...]:
    """What the tables are of, what their signs mean, and what is in them besides."""
    made = "; ".join(dict.fromkeys(map(_settings, comparison.signatures)))
    return (
        f"{made[0].upper()}{made[1:]}.",
        "± is one standard error, over draws of images; std is the population standard deviation: of the scores "
        "of a network, or of correlations over networks.",
        *comparison.distance_notes,
        *(f"Made differently: {each}." for each in comparison.differences),
    )


def _settings(signature: Signature) -> str:
    """The images of a signature and their pooling."""
    pooling = signature.metadata.get("options", {}).get("pooling")
    return f"{images(signature)}{'' if pooling is None else f', pooling {pooling!r}'}"
