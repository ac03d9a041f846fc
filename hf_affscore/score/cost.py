"""What scoring a layer takes, from the shape of its rows alone.

Memory is stated at its most. The terms are those of the arrays that :mod:`hf_affscore.score` makes. Which of them
a layer needs depends on its values: where the pairing that the rows came in is soon shown to be optimal, as in
most wide layers, no distances of all pairs are kept, and memory grows with the number of samples alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from hf_affscore.score.distances import BLOCK
from hf_affscore.score.priced import START
from hf_affscore.score.transport import DENSE, WIDE, by_price

#: Bytes for each pair of samples: distances in float32 and the kernel of Sinkhorn's iteration, then distances in
#: float64 for the solver; of wide layers all three at once, of narrow ones the first and the third. Three for near
#: pairs.
PAIR_BYTES, PAIR_BYTES_WIDE = 15, 19

#: Bytes for each sample where pairs are chosen by price, some fifty candidates and the network simplex on them; and
#: before that for each pair of the part of the samples that is begun with.
PRICED_BYTES, START_BYTES = 9_000, 13

#: Samples of the assignment that the solver's time is measured on, and how that grows with their number.
SOLVED, SOLVER_EXPONENT = 512, 2.5

#: Features up to which a layer mostly needs the solver. Above, its own pairing is often optimal, but that depends
#: on the images: of 12 layers of MobileNetV2 with 96 to 192 features, 3 needed the solver on 2,048 photographs, and
#: 6 on 8,192; on noise none of 64 features did.
NARROW = 32

#: The share of the wider layers, up to :data:`~hf_affscore.score.transport.WIDE`, that are expected to need it.
#: More do on many photographs and none on noise: so the time of both is stated within a factor of two.
EXPECTED_SHARE = 0.1

#: Operations for each pair of samples before the solver begins: Sinkhorn's iteration, and distances in float64.
SEARCH_OPERATIONS = 800

#: Bytes for each entry of the rows: both sides in float32, and copies in float64, centred, mapped, and extended for
#: the product of distances.
ENTRY_BYTES = 78

#: Bytes for each pair of features: both covariances, their products and LAPACK's work space.
COVARIANCE_BYTES = 72

#: Bytes for each pair of samples where products of samples stand in for covariances.
WIDE_PRODUCTS_BYTES = 288

#: Bytes for each direction that the rows span while samples are left out: their changes of the map, 512 columns.
LEFT_OUT_BYTES = 22_000

#: Bytes for each pair of samples that are compared at a time.
COMPARED_BYTES = 9


def scoring_bytes(num_samples: int, width: int) -> int:
    """Most memory that scoring one layer takes at once, in bytes, its rows included.

    Args:
        num_samples: Rows, n.
        width: Features of a row, d.

    Example:
        >>> round(scoring_bytes(50_000, 197) / 1e9)  # with POT; without it 39
        1
        >>> scoring_bytes(50_000, 1)  # sorted, without distances
        5000000
    """
    n, d = num_samples, width
    if d == 1:
        return 100 * n
    pairs = (PAIR_BYTES_WIDE if d >= WIDE else PAIR_BYTES) * n * n + COMPARED_BYTES * min(n * n, BLOCK)
    if by_price(n):
        pairs = max(PRICED_BYTES * n, START_BYTES * START**2)
    rows, products = ENTRY_BYTES * n * d, COVARIANCE_BYTES * d * d
    if d > 2 * n:
        rows, products = 32 * n * d, WIDE_PRODUCTS_BYTES * n * n
    return rows + max(pairs + products, products // 2 + LEFT_OUT_BYTES * min(d, 2 * n))


def block_bytes(num_samples: int, width: int) -> int:
    """Most memory that judging one block takes: rows of both sides in float64, and products of the smaller extent.

    Args:
        num_samples: Rows, n.
        width: Features of the wider side, d.
    """
    n, d = num_samples, width
    return 80 * n * d + 32 * min(n, d) ** 2


def block_operations(num_samples: int, width: int) -> int:
    """About how many floating point operations a block takes: held-out R2 with and without the residual stream."""
    n, d = num_samples, width
    return 2 * (6 * n * d * min(n, d) + 20 * min(n, d, 512) ** 3)


def largest_together(num_samples: int, widths: Iterable[int], at_once: int) -> int:
    """Memory of the ``at_once`` layers that need most, when they are scored at one time.

    Example:
        >>> largest_together(1000, [1, 1], at_once=1)
        100000
    """
    return sum(sorted((scoring_bytes(num_samples, width) for width in widths), reverse=True)[:at_once])


def scoring_operations(num_samples: int, width: int) -> int:
    """About how many floating point operations a layer takes if its own pairing is soon shown to be optimal.

    Products of rows (covariances, the map, the regression), decompositions of matrices of features or, where there
    are more than twice as many as samples, of samples on both sides; distances in float32, of wide layers from a
    quarter of the features; comparisons of all pairs; and the companion statistics. The factors are a fit to the
    35 layers of a MobileNetV2 on 512 to 8,192 photographs (``benchmarks/inspection.md``).
    """
    n, d = num_samples, width
    if d == 1:
        return 1000 * n
    rank = min(d, 2 * n)
    compared = d // 4 if d >= WIDE else d
    return 3 * n * d * min(n, d) + 15 * rank**3 + (3 * compared // 10 + 150) * n * n + 2400 * n * d


def search_operations(num_samples: int, width: int) -> int:
    """About how many more operations a layer takes that needs the solver, before the solver begins."""
    return SEARCH_OPERATIONS * num_samples**2 if 1 < width < WIDE else 0


def solver_share(num_samples: int, width: int) -> float:
    """Time of the solver for a layer that needs it, in units of that for :data:`SOLVED` independent points.

    Wide layers never count: they seldom need it. Where pairs are chosen by price it grows with their number.
    """
    if width == 1 or width >= WIDE:
        return 0.0
    dense = DENSE if by_price(num_samples) else num_samples
    return float((dense / SOLVED) ** SOLVER_EXPONENT * (num_samples / dense) ** 2)
