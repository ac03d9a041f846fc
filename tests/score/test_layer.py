"""The whole record: its columns, its independence of threads, and what wide layers cost."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController

from hf_affscore.errors import InputError
from hf_affscore.score import score_layer
from hf_affscore.score.held_out import r2_heldout
from hf_affscore.score.threads import one_blas_thread


def layer(n=300, d=160, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x, np.maximum(x, 0)


def blas_threads():
    return {lib["num_threads"] for lib in ThreadpoolController().info() if lib["user_api"] == "blas"}


def test_columns():
    record = score_layer(*layer(), shrinkage=True, regularization=1e-6)
    assert list(record) == [
        "affinity_score", "affinity_score_bound", "affinity_score_stderr",
        "affinity_score_low", "affinity_score_high", "limit_low", "limit_high",
        "identity_coupling_score", "effects", "ridge_share_pre", "ridge_share_post", "affinity_score_shrunk",
        "cka", "r2", "r2_heldout", "entropy_pre", "entropy_post", "norm", "evidence", "reason",
    ]  # fmt: skip
    assert "affinity_score_shrunk" not in score_layer(*layer(), shrinkage=False, regularization=1e-6)
    undefined = score_layer([np.nan, 1.0], [1.0, 2.0], shrinkage=True, regularization=1e-6)
    assert list(undefined) == list(record)
    assert {type(value) for value in record.values()} <= {float, str, tuple, type(None)}


@pytest.mark.parametrize(("n", "before", "after"), [(60, 8, 4), (60, 4, 90), (60, 90, 4), (60, 90, 80)])
def test_other_widths_after_than_before_have_no_score_and_say_so(n, before, after):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, before))
    y = x @ rng.normal(size=(before, after))
    record = score_layer(x, y, shrinkage=True, regularization=1e-6, num_groups=2)
    same = score_layer(*layer(n, 4), shrinkage=True, regularization=1e-6, num_groups=2)
    assert sorted(record) == sorted(same)
    assert np.isnan([record["affinity_score"], record["affinity_score_shrunk"], record["norm"]]).all()
    assert record["evidence"] == "undefined"
    assert record["reason"].startswith(f"{before} features become {after};")
    centred = [side - side.mean(axis=0) for side in (x, y)]
    grams = [side @ side.T for side in centred]
    expected = (grams[0] * grams[1]).sum() / np.prod([np.linalg.norm(gram) for gram in grams])
    assert record["cka"] == pytest.approx(expected, abs=1e-10)
    assert record["r2"] == pytest.approx(1, abs=1e-6)
    assert record["r2_heldout"] == r2_heldout(x, y)
    with pytest.raises(InputError, match="expected as many rows"):
        score_layer(x, y[1:], shrinkage=True, regularization=1e-6)


def test_bits_do_not_depend_on_the_threads_of_blas_or_of_the_caller():
    def record(threads):
        with ThreadpoolController().limit(limits=threads, user_api="blas"):
            return repr(score_layer(*layer(), shrinkage=True, regularization=1e-6))

    with ThreadPoolExecutor(2) as pool:
        pooled = list(
            pool.map(lambda _: repr(score_layer(*layer(), shrinkage=True, regularization=1e-6)), range(2))
        )
    assert {record(1), record(2), *pooled} == {record(1)}


def test_the_cap_on_blas_is_lifted_by_the_last_to_leave():
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_the_cap_on_blas_holds_whichever_thread_needs_it():
    def threads_inside(_):
        with one_blas_thread():
            return blas_threads()

    with ThreadpoolController().limit(limits=2, user_api="blas"):
        assert threads_inside(0) == {1}
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(threads_inside, range(4))) == [{1}] * 4
        assert threads_inside(0) == {1}
        assert blas_threads() == {2}


def test_importing_the_score_does_not_import_torch():
    code = "import sys, hf_affscore.score; assert not {'torch', 'sklearn', 'ot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_layer_of_25088_features_runs_within_four_gigabytes():
    code = (
        "import resource, numpy as np\n"
        "from hf_affscore.score import score_layer\n"
        "x = np.random.default_rng(0).standard_normal((2048, 25088), dtype=np.float32)\n"
        "record = score_layer(x, np.maximum(x, 0), shrinkage=False, regularization=1e-6)\n"
        "assert 0 < record['affinity_score'] < 1\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
