"""Rows kept batch by batch, in memory and in a file, come back as they were."""

import os
import resource

import numpy as np
import pytest

from hf_affscore.capture.features import Features
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summary

SITES = [CallSite(f"act{number}", "ReLU", 0, "module") for number in range(3)]


def batch(start, dtype):
    """What the three sites gave for four images; no two numbers are the same."""
    rows = start + np.arange(3 * 2 * 4 * 5, dtype=dtype).reshape(3, 2, 4, 5) / 1000
    return [
        (site, *(Summary(side, np.array([start, number], dtype=float)) for side in pair))
        for number, (site, pair) in enumerate(zip(SITES, rows, strict=True))
    ]


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("limit", [0, 5_000, float("inf")], ids=["all in the file", "some", "none"])
def test_rows_come_back_as_they_were(limit):
    features = Features(limit)
    given = {start: batch(start, np.float64 if start % 3 else np.float32) for start in range(40)}
    for start, calls in given.items():
        features.add(start, calls)
    for number, site in enumerate(SITES):
        taken = features.take(site)
        assert list(taken) == list(given)
        for start, pair in taken.items():
            for side, expected in zip(pair, given[start][number][1:], strict=True):
                assert side.rows.dtype == expected.rows.dtype
                np.testing.assert_array_equal(side.rows, expected.rows)
                np.testing.assert_array_equal(side.near_zero, expected.near_zero)
    assert features.take(SITES[0]) == {}
    features.close()


def test_a_long_run_needs_no_more_open_files_than_a_short_one():
    features = Features(0)
    before = open_files()
    for start in range(2_000):
        features.add(start, batch(start, np.float32))
    assert open_files() - before == 1
    taken = [features.take(site) for site in SITES]
    assert open_files() - before <= 1 + len(SITES)
    del taken
    features.close()
    assert open_files() == before


@pytest.mark.parametrize("written", [0, 1_000])
def test_a_full_disk_leaves_the_rows_in_memory(written):
    features = Features(0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, before[1]))  # as a disk that fills up
    try:
        for start in range(20):
            features.add(start, batch(start, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    taken = features.take(SITES[1])
    for start in range(20):
        np.testing.assert_array_equal(taken[start][1].rows, batch(start, np.float32)[1][2].rows)
    features.close()
