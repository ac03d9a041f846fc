"""Distances between signatures, and clusters from these distances.

The distance is dynamic time warping, as in the paper: each step of one signature is matched with one or more
neighbouring steps of the other so that the sum of squared differences of matched scores is smallest; the distance
is the root of that sum. Signatures may have different lengths. The distance is 0 for equal signatures and
symmetric, but not a metric: the triangle inequality can fail. It grows with the number of activations, so a deep
network is far from a shallow one even if their scores are similar.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from hf_affscore.extras import require

Array = npt.NDArray[np.float64]


def dtw_distances(series: Sequence[Array]) -> Array:
    """Pairwise dynamic time warping distances.

    Args:
        series: k arrays of shape ``(length,)``, finite and not empty; lengths may differ.

    Returns:
        Shape ``(k, k)``, symmetric, zero diagonal.

    Raises:
        MissingPackageError: dtaidistance is not installed.

    Example:
        >>> dtw_distances([np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5])]).round(3)
        array([[0. , 0. , 0.5],
               [0. , 0. , 0.5],
               [0.5, 0.5, 0. ]])
    """
    if len(series) < 2:
        return np.zeros((len(series), len(series)))
    require("dtaidistance")
    from dtaidistance import dtw

    contiguous = [np.ascontiguousarray(one, dtype=np.float64) for one in series]
    return np.asarray(dtw.distance_matrix_fast(contiguous, parallel=True), dtype=np.float64)


def warping_path(first: Array, second: Array) -> list[tuple[int, int]]:
    """The matched pairs of steps of ``first`` and ``second``, in order.

    Example:
        >>> warping_path(np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0]))
        [(0, 0), (0, 1), (1, 2)]
    """
    require("dtaidistance")
    from dtaidistance import dtw

    path = dtw.warping_path_fast(
        np.ascontiguousarray(first, dtype=np.float64), np.ascontiguousarray(second, dtype=np.float64)
    )
    return [(int(i), int(j)) for i, j in path]


def link(distances: Array) -> Array:
    """Average-linkage clustering of a distance matrix, in scipy's format, shape ``(k - 1, 4)``.

    Average linkage is used because it only needs distances: Ward's and the centroid methods assume points in a
    Euclidean space, and warping distances are not Euclidean. Leaves are ordered so that neighbours are similar.
    """
    if len(distances) < 2:
        return np.zeros((0, 4))
    condensed = squareform(distances, checks=False)
    return np.asarray(hierarchy.linkage(condensed, method="average", optimal_ordering=True))


def leaves(linkage: Array) -> list[int]:
    """The order of the networks along the leaves of the dendrogram."""
    return [int(leaf) for leaf in hierarchy.leaves_list(linkage)] if len(linkage) else [0]


def cut(linkage: Array, count: int) -> list[int]:
    """A cluster number from 1 for every network, at most ``count`` clusters.

    They are cut at a height: by number (``criterion="maxclust"``), scipy before 1.15 gives fewer than there are.

    Example:
        >>> cut(link(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [5.0, 5.0, 0.0]])), 2)
        [1, 1, 2]
    """
    merges = len(linkage) + 1 - count
    if merges == 0:
        return list(range(1, count + 1))
    return [int(cluster) for cluster in hierarchy.fcluster(linkage, linkage[merges - 1, 2], "distance")]


def tree(linkage: Array) -> list[tuple[list[float], list[float]]]:
    """The dendrogram as brackets of four points, x and y; the first leaf is at x = 0, the next at 1.

    Example:
        >>> tree(link(np.array([[0.0, 2.0], [2.0, 0.0]])))
        [([0.0, 0.0, 1.0, 1.0], [0.0, 2.0, 2.0, 0.0])]
    """
    if not len(linkage):
        return []
    drawn = hierarchy.dendrogram(linkage, no_plot=True)  # its leaves are at 5, 15, 25, ...
    brackets = zip(drawn["icoord"], drawn["dcoord"], strict=True)
    return [([(float(x) - 5) / 10 for x in xs], [float(y) for y in ys]) for xs, ys in brackets]
