"""Error of the score that rounding in the map causes: the estimate, and what it decides; writes ``accuracy.md``.

    python benchmarks/activations.py <wheel> activations.npz     # once: see there
    python benchmarks/accuracy.py activations.npz

The reference is the map from roots of the covariances, which squares nothing; its own error, seen against
40-digit arithmetic, is 1e-11 at most (``tests/score/test_real_layers.py``). The identity coupling is taken
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
from hf_affscore.score.affinity import Solution, rounding, solve
from hf_affscore.score.gaussian import Gaussian, LinearMap
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.threads import one_blas_thread
from hf_affscore.score.transport import optimal_coupling

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


def nearly_affine() -> Layers:
    """Full rank, spread over decades, and hardly anything left of W2."""
    rng = np.random.default_rng(1)
    for d, decades in itertools.product((150, 400), (2, 4, 5)):
        basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
        x = (rng.normal(size=(SAMPLES, d)) * np.logspace(0, -decades, d)) @ basis
        for name, post in (
            ("x", x),
            ("2 x + 1", 2 * x + 1),
            ("leaky relu, 0.999", np.where(x > 0, x, 0.999 * x)),
        ):
            yield f"d {d}, {decades} decades, {name}", x, post


def study(pre: np.ndarray, post: np.ndarray) -> tuple[float, float, float, str] | None:
    """The estimate for the first map, the errors of the first and of the one that is taken, and which that is.

    None where there is no map, since the output is constant.
    """
    layer = Layer(Sample(pre), Sample(post))
    before, after = (
        Gaussian.fit(side, shrinkage=False, regularization=1e-6) for side in (layer.pre, layer.post)
    )
    source, target, total = before.sample.centred, after.sample.centred, after.total_variance

    def solution(transport: LinearMap) -> Solution:
        mapped = source @ transport.matrix
        return Solution(source, target, transport, mapped, optimal_coupling(mapped, target), total)

    first, reference = solution(next(before.affine_maps_to(after))), solution(before._map_from_roots(after))
    taken = solve(layer, shrinkage=False, regularization=1e-6)
    if taken.transport is None:
        return None
    errors = [
        abs(found.identity_coupling_score - reference.identity_coupling_score) for found in (first, taken)
    ]
    road = "refined" if taken.transport.inner is not None else "covariances"
    if np.array_equal(taken.mapped, reference.mapped):
        road = "rows"
    return rounding(first, before), errors[0], errors[1], road


def table(layers: Layers) -> list[str]:
    lines = ["| layer | estimate | error of the first map | error | map |", "| --- | --- | --- | --- | --- |"]
    for name, pre, post in layers:
        found = study(pre, post)
        if found is None:
            continue
        estimate, coarse, error, road = found
        lines.append(f"| {name} | {estimate:.0e} | {coarse:.0e} | {error:.0e} | {road} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("activations", type=Path)
    options = parser.parse_args()
    with one_blas_thread():
        text = [
            "# Error of the score from rounding in the map",
            "",
            f"{datetime.date.today()}, n = {SAMPLES}.",
            "",
        ]
        text += ["## MobileNetV2", "", *table(real(options.activations))]
        text += ["", "## Nearly affine", "", *table(nearly_affine())]
        text += ["", "## Synthetic layers", "", *table(synthetic())]
    (HERE / "accuracy.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
