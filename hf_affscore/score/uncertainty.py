"""How far a score can be trusted: its spread from sample to sample, and where its limit must lie.

**Spread.** The score is a smooth function of the distribution of the rows. A little more weight on sample i
changes it by ``psi_i / n`` (von Mises' expansion), through three channels: the sample's own share of the
transport cost; the map, which follows both covariances; the total variance of Y, which normalises. The
coupling, being optimal, contributes nothing to first order. ``sqrt(var(psi) / n)`` is the standard error.

**Limit.** As n grows the score tends to that of the distribution. Two things keep a sample away from it:

- The map is fitted to the same samples, so the score starts too high by about d / n. Scores of both halves
  show by how much, and the interval is centred on ``2 score - mean score of the halves``.
- In several dimensions partners are rare, so W2 between samples exceeds W2 between distributions, by
  something like n^(-2/d), which no sample of practical size removes. How much at most is seen feature by
  feature: the sum of the squared one-dimensional distances is a lower bound of W2^2, also in the limit.

Where the second is larger than half a standard error, or there are fewer than :data:`SAMPLES_PER_FEATURE`
samples per feature or than :data:`SAMPLES`, no interval is given, and the flag says why.
``benchmarks/uncertainty.md`` has the coverage that was simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hf_affscore.score.affinity import Solution, solve
from hf_affscore.score.arrays import Array, from_host, namespace, to_host
from hf_affscore.score.distances import Rows
from hf_affscore.score.gaussian import Regularization
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.transport import coupling_cost

#: Fewer than this, and the bias of the fitted map is no longer removed by comparing with the halves.
SAMPLES_PER_FEATURE = 8

#: Fewer than this, and the spread of the centre itself is no longer that of a normal distribution.
SAMPLES = 128

#: Standard errors on either side of the centre of a 95 % interval: the normal distribution's 1.96, and
#: something for the noise that comparing with the halves adds.
QUANTILE = 2.1


@dataclass(frozen=True)
class Uncertainty:
    """What is known about a score beyond its value.

    Attributes:
        standard_error: Of the score at this number of samples; nan where there are fewer samples than four
            per feature, or the map has no full rank.
        low: Lower end of the 95 % interval for the score's limit; nan where none can be given.
        high: Upper end.
        flag: Why there is no interval, or None.
    """

    standard_error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    flag: str | None = None


def uncertainty(layer: Layer, solution: Solution, *, regularization: Regularization) -> Uncertainty:
    """What is known about the score of ``solution``, which is that of ``layer`` without shrinkage."""
    n, d = layer.pre.shape
    needed = max(SAMPLES, SAMPLES_PER_FEATURE * d)
    few = f"{n} samples for {d} feature{'s' * (d > 1)}; {needed} are needed"
    full_rank = solution.transport is not None and solution.transport.basis.shape == (d, d)
    if not full_rank or n < SAMPLES_PER_FEATURE * d / 2:
        return Uncertainty(flag=solution.flag or few)
    error = standard_error(solution)
    if n < needed:
        return Uncertainty(error, flag=few)
    highest = ceiling(solution)
    if highest - solution.score > error / 2:
        return Uncertainty(error, flag=f"with more samples the score may rise up to {highest:.3f}")
    halves = [Layer(Sample(layer.pre.rows[start::2]), Sample(layer.post.rows[start::2])) for start in (0, 1)]
    scores = [solve(half, shrinkage=False, regularization=regularization).score for half in halves]
    centre = 2 * solution.score - sum(scores) / 2
    return Uncertainty(error, low=centre - QUANTILE * error, high=centre + QUANTILE * error)


def standard_error(solution: Solution) -> float:
    """Standard error of the score, from the influence of every sample; the map must have full rank."""
    assert solution.transport is not None
    basis, spectrum = solution.transport.basis, solution.transport.spectrum
    source, target = solution.source, solution.target
    n = len(source)
    residual = from_host(solution.mapped, source) - target[solution.coupling.assignment]
    cost = solution.coupling.cost
    if cost == 0:
        return 0.0
    # The derivative of the cost in the map, in the coordinates in which that of the map in both covariances
    # is simple (:mod:`hf_affscore.score.loss`), and back: what a sample adds by being in them.
    slope = basis.T @ (residual.T @ source / n) @ basis
    slope = (slope + slope.T) / (spectrum[:, None] + spectrum)
    before, after = (basis / spectrum).T, namespace(source).linalg.inv(basis)
    bent = _forms(target, after.T @ slope @ after) - _forms(source, before.T @ slope @ before)
    squares = to_host((target**2).sum(axis=1))
    influence = (solution.coupling.shares + bent) / cost - squares / solution.total
    return math.sqrt(cost / (8 * solution.total)) * float(influence.std()) / math.sqrt(n)


def _forms(rows: Array, matrix: Array) -> Rows:
    """``row @ matrix @ row`` of every row, shape ``(n,)``."""
    return to_host(namespace(rows).einsum("ij,ij->i", rows @ matrix, rows))


def ceiling(solution: Solution) -> float:
    """An upper bound of the score at any number of samples: the distances feature by feature."""
    mapped, target = np.sort(solution.mapped, axis=0), np.sort(to_host(solution.target), axis=0)
    return 1 - math.sqrt(coupling_cost(mapped, target) / (2 * solution.total))
