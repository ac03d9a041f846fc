"""Error of the score that the map from covariances causes, with and without refinement; writes ``accuracy.md``.

    python benchmarks/activations.py <wheel> activations.npz     # once: see there
    python benchmarks/accuracy.py activations.npz

The reference is the map from roots of the covariances, which squares nothing; its own error, seen against
40-digit arithmetic, is 1e-11 at most (``tests/score/test_conformance.py``). The identity coupling is taken
throughout, so that nothing but the map differs.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hf_affscore.score import gaussian
from hf_affscore.score.gaussian import Gaussian, LinearMap
from hf_affscore.score.sample import Sample
from hf_affscore.score.threads import one_blas_thread

HERE = Path(__file__).parent
SAMPLES = 2048
Layers = Iterator[tuple[str, np.ndarray, np.ndarray]]


def real(path: Path) -> Layers:
    arrays = np.load(path)
    for name in arrays:
        if name.endswith("_pre") and arrays[name].shape[1] > gaussian.NARROW:
            yield name.removesuffix("_pre"), arrays[name], arrays[name.removesuffix("_pre") + "_post"]


def synthetic() -> Layers:
    """Normal rows of full and of half rank, their spread over up to eight decades, their scale over five."""
    rng = np.random.default_rng(0)
    for d, share, scale, decades in itertools.product(
        (150, 300, 600), (2, 1), (0.01, 1, 10, 1000), (0, 4, 8)
    ):
        factors = rng.normal(size=(SAMPLES, d // share)) * np.logspace(0, -decades, d // share)
        rows = (factors @ rng.normal(size=(d // share, d)) * scale / math.sqrt(d // share)).astype(np.float32)
        for name, post in (("relu", np.maximum(rows, 0)), ("silu", rows / (1 + np.exp(-rows.clip(-80, 80))))):
            label = f"d {d}, rank {d // share}, scale {scale}, {decades} decades, {name}"
            yield label, rows, post.astype(np.float32)


def study(pre: np.ndarray, post: np.ndarray) -> tuple[float, float, float, str]:
    """Rounding estimate, error without refinement and as the package does it, and which road that is."""
    before, after = (Gaussian.fit(Sample(rows), shrinkage=False, regularization=1e-6) for rows in (pre, post))

    def score(found: LinearMap) -> float:
        distances = (before.sample.centred @ found.matrix - after.sample.centred) ** 2
        return 1 - math.sqrt(distances.sum() / len(pre) / (2 * after.total_variance))

    reference = score(before._map_from_roots(after))
    done = before._map_from_covariances(after)
    limit, gaussian.NEGLIGIBLE = gaussian.NEGLIGIBLE, math.inf
    coarse = before._map_from_covariances(after)
    gaussian.NEGLIGIBLE = limit
    if coarse is None or done is None:
        return math.nan, math.nan, 0.0, "rows"
    road = "covariances" if done.inner is None else "refined"
    return coarse.rounding, abs(score(coarse) - reference), abs(score(done) - reference), road


def table(layers: Layers) -> list[str]:
    lines = ["| layer | rounding | error unrefined | error | road |", "| --- | --- | --- | --- | --- |"]
    for name, pre, post in layers:
        rounding, coarse, error, road = study(pre, post)
        lines.append(f"| {name} | {rounding:.0e} | {coarse:.0e} | {error:.0e} | {road} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("activations", type=Path)
    options = parser.parse_args()
    with one_blas_thread():
        text = ["# Error of the map from covariances", "", f"{datetime.date.today()}, n = {SAMPLES}.", ""]
        text += ["## MobileNetV2", "", *table(real(options.activations))]
        text += ["", "## Synthetic layers", "", *table(synthetic())]
    (HERE / "accuracy.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
