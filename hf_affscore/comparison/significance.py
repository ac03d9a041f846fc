"""Which changes of scores are more than noise.

The standard error of a change depends on the images:

- **The same images in the same order** (equal ``dataset.fingerprint``): most of the error of a score comes from
  which images were drawn, and is the same in both networks. The standard error is that of the difference of the
  effects that groups of images have on both scores (``affinity_score_effects`` in the rows), and is often many
  times smaller than that of each score.
- **Other images**, or images of which this is not known: the errors are independent, and their squares add up.

Float32 rounding of the network (another batch size, device or version of a library) moves a score by about
:data:`ROUNDING`, which is added as a further independent error. A two-sided t-test gives each p-value.
Changes are significant at a false discovery rate of 5 % (Benjamini and Hochberg, 1995): of the changes called so,
one in twenty is expected to be noise. Where nothing changed, nothing was called so in 90 % of comparisons of
independent draws of images (``benchmarks/difference.md``), 95 % being what the procedure promises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr
from scipy.stats import false_discovery_control

from hf_affscore.signature import Record
from hf_affscore.summary import column, degrees_of_freedom, drawn_medians, joint_errors, mean_error

Array = npt.NDArray[np.float64]
Rows = Sequence[Record]

#: What float32 rounding changes in a score, as a standard error.
ROUNDING = 1e-5

#: Share of noise among the changes that are called significant.
FALSE_DISCOVERY_RATE = 0.05


class Tested(NamedTuple):
    """The standard error, p-value and significance of each pair, and the mean change."""

    rows: list[tuple[float, float, bool]]
    mean_change: float
    mean_stderr: float


def tested(pairs: Sequence[tuple[Record, Record]], *, paired: bool) -> Tested:
    """Test the change of every pair of rows; ``paired``: both are of the same images in the same order."""
    if not pairs:
        return Tested([], math.nan, math.nan)
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    change = column(second, "affinity_score") - column(first, "affinity_score")
    ours, theirs = joint_errors(first), joint_errors(second)
    if paired and ours.shape == theirs.shape and ours.shape[1] > 1:
        errors, freedom = theirs - ours, np.full(len(pairs), ours.shape[1] - 1.0)
    else:
        errors, freedom = np.hstack([-ours, theirs]), _degrees_of_freedom(first, second)
    stderr = np.hypot(np.linalg.norm(errors, axis=1), ROUNDING)
    p_values = 2 * stdtr(freedom, -abs(change) / stderr)
    significant = false_discovery_control(p_values) <= FALSE_DISCOVERY_RATE
    rows = list(zip(stderr.tolist(), p_values.tolist(), significant.tolist(), strict=True))
    return Tested(rows, float(change.mean()), float(np.hypot(mean_error(errors), ROUNDING)))


def median_change(first: Rows, second: Rows, *, paired: bool) -> tuple[float, float]:
    """The second median less the first, and its standard error; ``paired`` as in :func:`tested`."""
    scores = [column(rows, "affinity_score") for rows in (first, second)]
    errors = [joint_errors(rows) for rows in (first, second)]
    change = float(np.median(scores[1]) - np.median(scores[0]))
    if any(np.isnan(each).any() for each in errors):
        return change, math.nan
    medians = [drawn_medians(*each) for each in zip(scores, errors, strict=True)]
    if paired and errors[0].shape[1] == errors[1].shape[1] > 1:
        stderr = (medians[1] - medians[0]).std()
    else:
        stderr = np.hypot(medians[0].std(), medians[1].std())
    return change, float(np.hypot(stderr, ROUNDING))


def _degrees_of_freedom(first: Rows, second: Rows) -> Array:
    """Of a difference of independent scores (Welch and Satterthwaite)."""
    variances = [column(rows, "affinity_score_stderr") ** 2 + ROUNDING**2 / 2 for rows in (first, second)]
    freedom = [degrees_of_freedom(column(rows, "num_samples")) for rows in (first, second)]
    shares = [variance**2 / each for variance, each in zip(variances, freedom, strict=True)]
    return np.asarray((variances[0] + variances[1]) ** 2 / (shares[0] + shares[1]))
