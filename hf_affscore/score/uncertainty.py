"""How far a score can be trusted: its spread over draws of as many images, and where its limit must lie.

**Spread.** Leaving sample i out changes the score through three channels: the sample's own share of the
transport cost; the map, which follows both covariances; the total variance of Y, which normalises. The
coupling, being optimal, contributes nothing to first order. The spread of these effects over the samples gives
the standard error, as in the jackknife, and no layer is solved a second time for it.

First order is not enough where there are few samples per feature: the map has been drawn towards each sample,
so that its residual is smaller than that of a new sample. There, some samples are really left out, for which the
map is known in closed form too (``left_out.py``), and correct the spread of all. Against scores
of one sample less it is right to two percent, with any number of features; first order is short by up to two
fifths (``benchmarks/uncertainty.md``, which also has the coverage on real layers).

**Interval.** It is for the expected score *at this number of samples*, which is what two networks are compared
by. It is symmetric in ``log(1 - score)`` and therefore never reaches above 1.

**Limit.** As the number of samples grows, the score tends to that of the distribution. Two things keep a
sample away from it, one in each direction, and each gives a bound:

- The map is fitted to the same samples, so that the score is too high. With every sample mapped as if it had
  been left out, the score is at most that of the limit on average: W2 between samples exceeds W2 between
  distributions, whatever the map (Jensen's inequality).
- In several dimensions near partners are rare among few samples, so that the score is too low. How much at most
  is seen feature by feature: the sum of the squared one-dimensional distances is a lower bound of W2^2.

Both bounds are widened by the sampling error, at a level of 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import stdtrit

from hf_affscore.score.affinity import NEGLIGIBLE, Solution
from hf_affscore.score.arrays import Array, ascending, doubled, namespace, single, to_host
from hf_affscore.score.distances import Rows
from hf_affscore.score.left_out import Samples
from hf_affscore.summary import GROUPS, degrees_of_freedom

#: Samples whose effect is reported, evenly spread over all. They are summed over groups, the same ones in every
#: layer and network, so that the effects tell how two scores on the same images err together.
SAMPLED = 256

#: The standard error uses the effects of all samples where ``n d^2`` is at most this, which costs little. Wide
#: layers use the :data:`SAMPLED` ones; their effects have shorter tails, so that fewer are enough.
ALL_SAMPLES = 1 << 26

#: How many samples are really left out where there are as many features as samples, and the fewest worth it. The
#: error of first order grows with the square of features over samples, and so does what its correction needs.
EXACT, FEWEST = 48, 8

#: What a map without one sample may be off, in relation to how it changes: as much as the first number, less in
#: proportion to the second and the distance between ``T(X)`` and ``Y`` in relation to the largest possible, and the
#: least. Below the last, float32 is too coarse.
LARGEST_ERROR, ERROR_SHARE, LEAST_ERROR, SHORT = 1.4e-2, 0.03, 1e-8, 1e-5

#: Features sorted at a time, so that they stay in a core's cache.
BLOCK = 64

#: What lies in an interval; and the level of the sampling error in the bounds of the limit, which meet in layers of
#: one feature and have to hold all the same.
CONFIDENCE, LIMIT_CONFIDENCE = 0.95, 0.99


@dataclass(frozen=True)
class Uncertainty:
    """What is known about a score beyond its value; all nan where the output is constant.

    Attributes:
        standard_error: Of the score at this number of samples.
        low: Lower end of the 95 % interval for the expected score at this number of samples.
        high: Upper end.
        limit_low: The score of infinitely many samples is at least this, but for sampling error at a level of 99 %.
        limit_high: And at most this.
        effects: What each of at most :data:`GROUPS` interleaved groups of samples adds to the score, in any unit:
            between scores on the same images, the correlation of effects is that of the errors.
    """

    standard_error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    limit_low: float = math.nan
    limit_high: float = math.nan
    effects: tuple[float, ...] = ()


def uncertainty(solution: Solution) -> Uncertainty:
    """What is known about the score of ``solution``, which was solved without shrinkage."""
    if solution.transport is None:
        return Uncertainty()
    score, cost, n = solution.score, solution.coupling.cost, len(solution.mapped)
    distance = math.sqrt(cost / (2 * solution.total)) if solution.total > 0 else 0.0
    if distance <= NEGLIGIBLE:  # an affine map, but for rounding
        return Uncertainty(0.0, score, score, score, score, (0.0,) * min(len(_chosen(n)), GROUPS))
    reported = _chosen(n)
    used = range(n) if n * solution.target.shape[1] ** 2 <= ALL_SAMPLES else reported
    effects, spread, added = _effects(solution, used)
    error = spread / math.sqrt(n)
    margins = [
        float(stdtrit(degrees_of_freedom(n), (1 + level) / 2)) * error / distance
        for level in (CONFIDENCE, LIMIT_CONFIDENCE)
    ]
    lowest = 1 - math.sqrt((cost + added) / (2 * solution.total))
    return Uncertainty(
        error,
        *_interval(score, solution.bound, margins[0]),
        *_interval(lowest, ceiling(solution), margins[1]),
        effects=_by_group(effects[:: reported.step // used.step]),
    )


def _interval(low: float, high: float, margin: float) -> tuple[float, float]:
    """Both scores moved apart by ``margin`` in ``log(1 - score)``, within 0 to 1."""
    return 1 - min(1.0, (1 - low) * math.exp(min(margin, 500.0))), 1 - (1 - high) * math.exp(-margin)


def _chosen(n: int) -> range:
    """The samples whose effect is reported."""
    return range(0, n, -(-n // SAMPLED))


def _by_group(effects: Rows) -> tuple[float, ...]:
    """The sums over groups; sample i belongs to group i modulo :data:`GROUPS`."""
    centred = effects - effects.mean()
    return tuple(centred[start::GROUPS].sum().item() for start in range(min(len(centred), GROUPS)))


def _effects(solution: Solution, chosen: range) -> tuple[Rows, float, float]:
    """The effect of each chosen sample, the spread of all effects, and the mean cost added by leaving out.

    The effect is ``n - 1`` times the score with the sample less that without it, to first order in the map. Where
    that is not enough, spread and cost are corrected by samples that are really left out.
    """
    samples, n = _samples(solution, chosen), len(solution.mapped)
    effects, added = _left_out(solution, chosen, *samples.to_first_order())
    spread, mean = float(effects.std(ddof=1)), float(added.mean())
    count = round(EXACT * min(1.0, len(samples.spectrum) / n) ** 2)
    if count >= FEWEST:
        few = slice(None, None, max(1, len(chosen) // count))
        exact, really = _left_out(solution, chosen[few], *samples.exactly(range(len(chosen))[few]))
        spread *= float(exact.std() / effects[few].std()) if effects[few].std() > 0 else 1.0
        mean += float((really - added[few]).mean())
    return effects, spread, max(0.0, mean)


def _samples(solution: Solution, chosen: range) -> Samples:
    """The chosen samples in the coordinates of the map. Lengths are in units of the root mean cost."""
    assert solution.transport is not None
    some, unit = slice(None, None, chosen.step), solution.coupling.cost**0.5
    basis, spectrum = solution.transport.basis, solution.transport.spectrum
    error = min(LARGEST_ERROR, max(LEAST_ERROR, ERROR_SHARE * unit / (2 * solution.total) ** 0.5))
    rounded = single if error >= SHORT else doubled
    residual = solution.target[solution.coupling.assignment]
    namespace(residual).subtract(solution.mapped, residual, out=residual)
    residual /= unit
    whitening, in_units = basis / spectrum, basis / unit
    slope = _slope(residual, in_units, solution.source, whitening, rounded)
    return Samples(
        before=solution.source[some] @ whitening,
        after=_coordinates(solution.target[some], basis),
        residual=rounded(residual[some]),
        spectrum=spectrum,
        basis=rounded(in_units),
        slope=slope,
        count=len(residual),
        error=error,
    )


def _left_out(solution: Solution, chosen: range, others: Rows, own: Rows) -> tuple[Rows, Rows]:
    """Effects on the score, and costs added, of the chosen samples, from what each does to the residuals."""
    some, cost = slice(None, None, chosen.step), solution.coupling.cost
    squares = to_host((solution.target[some] ** 2).sum(axis=1))
    effects = solution.coupling.shares[some] / cost - others - squares / solution.total
    return -math.sqrt(cost / (8 * solution.total)) * effects, cost * own


def _slope(
    residual: Array, basis: Array, source: Array, whitening: Array, rounded: Callable[[Array], Array]
) -> Array:
    """``basis.T @ residual.T @ source @ whitening``, rounded; cheap products first.

    Whitening magnifies small directions, so that it takes float64.
    """
    n, d = source.shape
    if n > d:
        return rounded(basis).T @ rounded((residual.T @ source) @ whitening)
    return (rounded(residual) @ rounded(basis)).T @ rounded(source @ whitening)


def _coordinates(rows: Array, basis: Array) -> Array:
    """The v of each row with ``basis @ v == row``, or nearest to it where the basis does not span the space."""
    linalg = namespace(rows).linalg
    if basis.shape[0] == basis.shape[1]:
        return linalg.solve(basis, rows.T).T
    return rows @ linalg.pinv(basis).T


def ceiling(solution: Solution) -> float:
    """An upper bound of the score at any number of samples: the distances feature by feature."""
    unit, total = math.sqrt(solution.total), 0.0
    for start in range(0, solution.mapped.shape[1], BLOCK):
        mapped, target = (
            ascending(single(rows[:, start : start + BLOCK].T / unit))
            for rows in (solution.mapped, solution.target)
        )
        total = total + ((mapped - target) ** 2).sum(dtype=namespace(mapped).float64)
    return max(solution.bound, 1 - math.sqrt(float(total) / len(solution.mapped) / 2))
