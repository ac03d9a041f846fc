"""The routines against scipy's, bit for bit, and that threads do not wait for one another."""

import threading

import numpy as np
import pytest
import scipy.linalg

from hf_affscore.score.lapack import inverse_of_lower, lower_factor, pivots, solve_lower, symmetric_pencil


def positive(d, seed):
    rows = np.random.default_rng(seed).normal(size=(2 * d, d))
    return rows.T @ rows


@pytest.mark.parametrize("d", [1, 2, 7, 150])
def test_the_pencil_is_scipys(d):
    first, second = positive(d, 0), positive(d, 1)
    expected = scipy.linalg.eigh(first, second, type=3)
    values, vectors = symmetric_pencil(first.copy(), second.copy())
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(vectors, expected[1])
    np.testing.assert_allclose(vectors @ vectors.T, second, atol=1e-11 * d)


@pytest.mark.parametrize("d", [1, 2, 7, 150])
def test_the_solution_is_lapacks(d):
    matrix, rows = positive(d, 3), np.random.default_rng(4).normal(size=(5, d))
    factor, _ = scipy.linalg.lapack.dpotrf(matrix.T, lower=False)
    np.testing.assert_array_equal(np.tril(lower_factor(matrix.copy())), factor.T)
    half, _ = scipy.linalg.lapack.dtrtrs(factor, rows.T, lower=False, trans=1)
    np.testing.assert_array_equal(solve_lower(factor.T.copy(), rows), half.T)
    whole, _ = scipy.linalg.lapack.dtrtrs(factor, half, lower=False)
    np.testing.assert_array_equal(solve_lower(factor.T.copy(), half.T, transposed=True), whole.T)
    np.testing.assert_allclose(whole.T @ matrix, rows, atol=1e-8)


@pytest.mark.parametrize("d", [1, 2, 7, 150])
def test_the_inverse_is_lapacks(d):
    factor = np.linalg.cholesky(positive(d, 2))
    expected, _ = scipy.linalg.lapack.dtrtri(factor.T)
    np.testing.assert_array_equal(inverse_of_lower(factor), expected.T)


def test_pivots_are_lapacks():
    rows = np.random.default_rng(3).normal(size=(9, 5)) @ np.random.default_rng(4).normal(size=(5, 40))
    product = rows.T @ rows
    _, order, rank, _ = scipy.linalg.lapack.dpstrf(product, tol=1e-9)
    assert rank == 5
    np.testing.assert_array_equal(pivots(product, 1e-9), order[:rank] - 1)
    assert len(pivots(np.zeros((3, 3)), 1e-9)) == 0


def test_what_has_no_answer():
    assert symmetric_pencil(np.eye(2), np.diag([1.0, -1.0])) is None
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        lower_factor(np.diag([1.0, -1.0]))
    with pytest.raises(np.linalg.LinAlgError, match="zero on its diagonal"):
        solve_lower(np.diag([1.0, 0.0]), np.ones((1, 2)))
    with pytest.raises(np.linalg.LinAlgError, match="zero on its diagonal"):
        inverse_of_lower(np.diag([1.0, 0.0]))


def test_the_interpreter_runs_on_meanwhile():
    steps = 0
    done = threading.Event()

    def count():
        nonlocal steps
        while not done.wait(1e-4):
            steps += 1

    counter = threading.Thread(target=count)
    counter.start()
    symmetric_pencil(positive(600, 0), positive(600, 1))
    done.set()
    counter.join()
    assert steps > 10  # none, were the lock kept
