import time

import numpy as np
import pytest
from tslearn.metrics import cdist_dtw, dtw_path

from hf_affscore.comparison.distances import cut, dtw_distances, leaves, link, warping_path


def random_series(count, seed=0, longest=120):
    random = np.random.default_rng(seed)
    return [random.uniform(size=random.integers(1, longest)) for _ in range(count)]


def by_hand(first, second):
    """The definition, as a recursion over all monotone paths."""
    cost = np.full((len(first) + 1, len(second) + 1), np.inf)
    cost[0, 0] = 0
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            cost[i + 1, j + 1] = (a - b) ** 2 + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    return np.sqrt(cost[-1, -1])


def test_closed_forms():
    flat, twice, step = np.full(7, 0.3), np.full(12, 0.5), np.array([0.0, 1.0])
    distances = dtw_distances([flat, twice, step, np.repeat(step, 4)])
    # Two constants: the longer one's every step pays the difference.
    assert distances[0, 1] == pytest.approx(np.sqrt(12 * 0.2**2), abs=1e-12)
    # Staying longer at a value costs nothing.
    assert distances[2, 3] == 0
    assert np.array_equal(distances, distances.T)
    assert not distances.diagonal().any()


def test_equal_to_the_definition():
    series = random_series(8, longest=12)
    expected = [[by_hand(a, b) for b in series] for a in series]
    np.testing.assert_allclose(dtw_distances(series), expected, rtol=0, atol=1e-12)


def test_equal_to_tslearn():
    series = random_series(40)
    np.testing.assert_allclose(dtw_distances(series), cdist_dtw(series), rtol=0, atol=1e-9)


def test_the_path_pays_exactly_the_distance_and_equals_tslearns():
    for first, second in zip(random_series(10), random_series(10, seed=1), strict=True):
        path = warping_path(first, second)
        paid = np.sqrt(sum((first[i] - second[j]) ** 2 for i, j in path))
        assert paid == pytest.approx(dtw_distances([first, second])[0, 1], abs=1e-9)
        assert path[0] == (0, 0)
        assert path[-1] == (len(first) - 1, len(second) - 1)
        assert path == dtw_path(first, second)[0]


def test_clustering_keeps_neighbours_together():
    points = np.array([0.0, 10.0, 0.1, 10.1, 0.2])
    linkage = link(np.abs(points[:, None] - points))
    assert cut(linkage, 2) in ([1, 2, 1, 2, 1], [2, 1, 2, 1, 2])
    assert cut(linkage, 5) != cut(linkage, 2)
    order = leaves(linkage)
    assert list(points[order]) in (sorted(points), sorted(points, reverse=True))
    # Average linkage: the two groups meet at the mean of all pairs between them.
    assert linkage[-1, 2] == pytest.approx(np.mean([b - a for a in (0, 0.1, 0.2) for b in (10, 10.1)]))


def test_one_network_alone():
    assert dtw_distances([np.array([0.5])]).tolist() == [[0.0]]
    assert leaves(link(np.zeros((1, 1)))) == [0]
    assert cut(link(np.zeros((1, 1))), 1) == [1]


@pytest.mark.slow
def test_500_signatures_of_100_activations_in_30_seconds_on_two_cores():
    series = list(np.random.default_rng(0).uniform(size=(500, 100)))
    start = time.process_time()  # of all threads: what a clock says depends on what else the machine does
    leaves(link(dtw_distances(series)))
    assert time.process_time() - start < 2 * 30
