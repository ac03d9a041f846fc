"""What scoring a layer is said to take against what it takes, by memory and by the layers that need the solver."""

import tracemalloc

import numpy as np
import pytest

import hf_affscore.score.transport as transport
from hf_affscore.inspection import cost
from hf_affscore.inspection.rates import Rates
from hf_affscore.options import Options
from hf_affscore.score import score_layer
from hf_affscore.score.cost import EXPECTED_SHARE, NARROW, scoring_bytes


def layer(kind, n, d):
    random = np.random.default_rng(0)
    if kind == "independent":
        pre = random.normal(size=(n, d))
        return pre, np.maximum(pre, 0)
    pre = random.normal(size=(n, 2)) @ random.normal(size=(2, d))  # as with photographs, but more so
    return pre, (pre > 0) * 1.0


def traced(pre, post):
    """Most memory while a layer in float32 is scored, in bytes, its rows included."""
    pre, post = pre.astype(np.float32), post.astype(np.float32)
    tracemalloc.start()
    score_layer(pre, post, shrinkage=True, regularization=1e-6)
    peak = tracemalloc.get_traced_memory()[1] + pre.nbytes + post.nbytes
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("kind", "n", "d"),
    [
        ("independent", 1500, 8),
        ("two directions", 1500, 16),
        ("independent", 400, 900),
        ("independent", 200, 5000),
    ],
)
def test_memory_is_stated_at_its_most_and_within_a_factor_of_one_and_a_half(kind, n, d):
    peak = traced(*layer(kind, n, d))
    assert peak <= 1.02 * scoring_bytes(n, d) <= 1.5 * peak


@pytest.mark.parametrize("output", ["relu", "nearly affine", "of other rows"])
@pytest.mark.parametrize(
    ("n", "d"), [(60, 60), (60, 200), (60, 1000), (89, 133), (128, 200), (256, 400), (461, 4), (307, 16)]
)
def test_small_layers_take_no_more_memory_than_stated(n, d, output):
    """Samples that are left out, and blocks of pairs, are most of it."""
    pre, relu = layer("independent", n, d)
    pre *= np.logspace(0, -5, d)
    post = {"relu": relu, "nearly affine": 2 * pre + 1e-6 * relu, "of other rows": pre[::-1]}[output]
    assert traced(pre, post) <= scoring_bytes(n, d)


@pytest.mark.parametrize(("n", "d"), [(1500, 64), (800, 300), (400, 700)])
def test_layers_that_do_not_need_the_solver_take_less_memory_than_stated(n, d):
    peak = traced(*layer("independent", n, d))
    assert scoring_bytes(n, d) / 8 < peak < scoring_bytes(n, d)


@pytest.mark.parametrize(
    ("kind", "d", "needs"),
    [("independent", 64, False), ("independent", 4, True), ("two directions", 64, True)],
)
def test_which_layers_need_the_solver(kind, d, needs, monkeypatch):
    """The stated time counts on it for the narrow ones, the most time for all that are not wide."""
    solved = []
    solve = transport.linear_sum_assignment
    monkeypatch.setattr(transport, "linear_sum_assignment", lambda c: (solved.append(len(c)), solve(c))[1])
    score_layer(*layer(kind, 500, d), shrinkage=True, regularization=1e-6)
    assert bool(solved) == needs


def stated(n, widths, monkeypatch):
    """With rates at which the solver takes a second for 512 samples, and nothing else takes any time."""
    speed = Rates(dict.fromkeys(("product", "convolution", "grouped"), 1e30), 1e30, 0.0, 1e30, 1.0)
    monkeypatch.setattr(cost, "rates", lambda: speed)
    monkeypatch.setattr(cost, "IMPORT_SECONDS", 0.0)
    monkeypatch.setattr(cost, "BATCH_SECONDS", 0.0)
    work = cost.Work({}, 0, 0, 0)
    return cost.estimate(Options(num_samples=n), widths=widths, weights_bytes=0, input_bytes=0, work=work)


def test_time_is_that_of_narrow_layers_and_a_part_of_the_others_and_at_most_that_of_all_but_wide_ones(
    monkeypatch,
):
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    few = stated(2048, [1, NARROW, NARROW + 1, transport.WIDE - 1, transport.WIDE, 3000], monkeypatch)
    share = EXPECTED_SHARE
    assert few.seconds == pytest.approx((1 + 2 * share) * 32)  # 4 times the samples, 4 ** 2.5 times the time
    assert few.seconds_at_most == pytest.approx(3 * 32)
    assert "up to 96 s" in few.summary()
    middle = stated(8192, [64, 64], monkeypatch)
    assert middle.seconds == pytest.approx(share * 2 * 1024)
    assert middle.seconds_at_most == pytest.approx(2 * 1024)
    assert "up to" not in stated(2048, [NARROW, 3000], monkeypatch).summary()
