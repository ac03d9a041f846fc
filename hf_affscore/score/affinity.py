"""The affinity score: how close a layer's activation is to an affine map, on the data it really sees.

What the number means. X are the rows before the activation, Y those after it. T is the best affine guess at
the activation from the two means and covariances alone: the optimal transport map between the Gaussians that
have them. The score compares how far T(X) lies from Y, as point clouds, with how far it could lie at most:

    score = 1 - W2(T(X), Y) / sqrt(2 tr Cov(Y))

1 says that the activation moves these samples as a positive semi-definite affine map does; smaller says more
non-linear. On real networks values from 0.1 to 1 occur.

What it does not mean. It is no property of the activation function, but of function and data: ReLU scores 1
where all inputs are positive. Which x became which y counts only through the covariances: the score compares clouds
of points, not pairs. A rotation or a sign flip is linear and still scores below 1, since it is not positive
semi-definite. And it depends on the number of samples: with few, W2 between samples is not yet W2 between
distributions.

Degenerate cases, one answer each (paper, and the authors' conventions):

- Constant output: the map is zero and T(X) = Y; score 1, flagged. It is applied where tr Cov(Y), ridge
  included, is at most twice what the ridge alone gives, as the authors do; such a score is at least 1/2.
- Constant input, varying output: T(X) is the mean of Y, so W2 is the spread of Y; score about 1 - sqrt(1/2).
- A single sample, NaN or infinite entries, values whose fourth powers float64 cannot hold: no score.
  :func:`affinity_score` raises; :func:`hf_affscore.score.score_layer` gives nan with its reason.

Source: Bouniot et al., CVPR 2025, arXiv 2310.11439, equation 6. Everything is computed in float64.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hf_affscore.errors import InputError
from hf_affscore.score.arithmetic import own_arithmetic
from hf_affscore.score.arrays import LARGEST, Array, as_row_pair, defect
from hf_affscore.score.distances import Rows
from hf_affscore.score.gaussian import Gaussian, LinearMap, Regularization
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.transport import Coupling, optimal_coupling
from hf_affscore.spelling import checked_keywords

#: Up to this estimate of the score's rounding error a map is good enough; beyond it the next one is taken. On 184
#: layers, real and synthetic, errors above 1e-12 were at most 5 times the estimate, and the largest that was left
#: was 1e-10 (``benchmarks/accuracy.md``).
NEGLIGIBLE = 1e-10


@dataclass(frozen=True)
class Affinity:
    """A score and what belongs to it.

    Attributes:
        score: The affinity score, in [0, 1]; of the best coupling that was found, where none is proved optimal.
        bound: The score of an optimal coupling is at most this. Equal to ``score`` but for some layers of more than
            :data:`~hf_affscore.score.transport.DENSE` samples.
        identity_coupling_score: What the score would be if x_i had to be compared with y_i. A lower bound of
            the score; equal to it where the pairing is already optimal, as in most wide layers.
        flag: What to keep in mind about this score; None if nothing.
    """

    score: float
    bound: float
    identity_coupling_score: float
    flag: str | None = None


@checked_keywords()
def affinity_score(
    pre: Any, post: Any, *, shrinkage: bool = False, regularization: Regularization = 1e-6
) -> float:
    """How close ``post`` is to an affine map of ``pre``: 1 is affine, smaller is more non-linear.

    Args:
        pre: What went into the activation: shape ``(n, d)``, rows are samples, or ``(n,)`` for one feature.
            A numpy array or torch tensor of any real precision on any device; computed in float64.
        post: What came out, in the same shape and order.
        shrinkage: Use Ledoit-Wolf covariances instead of the samples'.
        regularization: Ridge added to both covariances, in squared units of the activations;
            ``"relative"`` takes 1e-6 of each side's mean variance, so that units do not matter.

    Returns:
        The score.

    Raises:
        InputError: The shapes differ or are not ``(n, d)``, there are fewer than two rows, or entries are
            no finite numbers.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 1000)
        >>> round(affinity_score(x, 3 * x + 1), 4), round(affinity_score(x, x**3), 4)
        (1.0, 0.7112)
    """
    return affinity(pre, post, shrinkage=shrinkage, regularization=regularization).score


def affinity(
    pre: Any, post: Any, *, shrinkage: bool = False, regularization: Regularization = 1e-6
) -> Affinity:
    """The score of :func:`affinity_score` with its diagnostics; arguments and errors are the same."""
    x, y = as_row_pair(pre, post)
    check_regularization(regularization)
    reason = defect(x, y)
    if reason is not None:
        advice = "Remove or repair those samples." if len(x) > 1 else "Pass one row for each of many samples."
        raise InputError(f"No affinity score: {reason}. {advice}")
    with own_arithmetic(x):
        solution = solve(Layer(Sample(x), Sample(y)), shrinkage=shrinkage, regularization=regularization)
        return Affinity(solution.score, solution.bound, solution.identity_coupling_score, solution.flag)


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved layer: the score with everything it was computed from.

    Attributes:
        source: Centred rows before the activation, in the coordinates of the map.
        target: Centred rows after it.
        transport: The map between their covariances; None where the output is constant, and the map zero.
        mapped: ``T(X)``, centred.
        coupling: Of ``mapped`` with ``target``.
        total: Total variance of Y, the ridge included.
        flag: What to keep in mind.
    """

    source: Array
    target: Array
    transport: LinearMap | None
    mapped: Array
    coupling: Coupling
    total: float
    flag: str | None = None

    @property
    def score(self) -> float:
        """The affinity score."""
        return self._score(self.coupling.cost)

    @property
    def bound(self) -> float:
        """The score is at most this, whatever the coupling."""
        return self._score(self.coupling.lower_bound)

    @property
    def identity_coupling_score(self) -> float:
        """The score of the pairing that the rows came in."""
        return self._score(self.coupling.identity_cost)

    def _score(self, cost: float) -> float:
        return 1 - math.sqrt(cost / (2 * self.total)) if self.total > 0 else 1.0


def solve(
    layer: Layer, *, shrinkage: bool, regularization: Regularization, duals: Rows | None = None
) -> Solution:
    """Map and coupling of rows that have passed :func:`~hf_affscore.score.arrays.defect`.

    Args:
        layer: The rows.
        shrinkage: See :func:`affinity_score`, as for ``regularization``.
        regularization: Of both covariances.
        duals: Those of the same layer's coupling with other covariances, if there is one: they save time.
    """
    pre = Gaussian.fit(layer.pre, shrinkage=shrinkage, regularization=regularization)
    post = Gaussian.fit(layer.post, shrinkage=shrinkage, regularization=regularization)
    total = post.total_variance
    ridge = 0.0 if regularization == "relative" else float(regularization)
    if total <= 2 * ridge * layer.post.shape[1]:
        source, target = pre.sample.centred, post.sample.centred
        mapped = source * 0
        coupling = optimal_coupling(mapped, target)
        return Solution(source, target, None, mapped, coupling, total, "constant output")
    spanned = layer.in_span
    pre, post = replace(pre, sample=spanned.pre), replace(post, sample=spanned.post)
    source, target = pre.sample.centred, post.sample.centred
    for transport in pre.affine_maps_to(post):
        mapped = source @ transport.matrix
        coupling = optimal_coupling(mapped, target, duals)
        solution = Solution(source, target, transport, mapped, coupling, total)
        if not transport.improvable or rounding(solution, pre) <= NEGLIGIBLE:
            break
        duals = coupling.duals
        del mapped, coupling  # the next map takes as much memory again
    return replace(solution, flag="constant input") if layer.pre.total == 0 else solution


def rounding(solution: Solution, pre: Gaussian) -> float:
    """About the largest error of the score that rounding in the map from ``pre`` can have caused.

    To first order it moves W2^2 by twice the mean inner product of residual and error, to second by the error's
    mean square.
    """
    cost = solution.coupling.cost
    if cost == 0 or solution.transport is None:
        return 0.0

    def residual(columns: Array) -> Array:
        return solution.mapped @ columns - (solution.target @ columns)[solution.coupling.assignment]

    first, second = solution.transport.rounding(pre, residual)
    return (first + second / 2) / math.sqrt(2 * cost) / math.sqrt(solution.total)


def check_regularization(regularization: Regularization) -> None:
    """Raise InputError unless it is a finite number of at least 0, or ``"relative"``."""
    if regularization == "relative":
        return
    given: Any = regularization.item() if isinstance(regularization, np.generic) else regularization
    number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not number or not 0 <= given < LARGEST:
        raise InputError(
            f"regularization is {regularization!r}; expected a finite number of at least 0, or 'relative'."
        )
