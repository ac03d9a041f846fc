"""What must not change the score, and the bounds it keeps, for layers that hypothesis makes up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_affscore.score import affinity, affinity_score

FUNCTIONS = [np.tanh, np.abs, np.square, lambda x: np.maximum(x, 0), lambda x: np.clip(x, 0, 0.3)]


@st.composite
def layers(draw):
    """Rows before and after; shapes on both sides of n = d, some features small, some rows equal."""
    n, d = draw(st.integers(2, 24)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, d)) * 10 ** rng.uniform(-2, 1, size=d) + rng.normal(size=d)
    if draw(st.booleans()):
        x[rng.integers(n)] = x[0]
    return x, draw(st.sampled_from(FUNCTIONS))(x), rng


many = settings(max_examples=60, deadline=None, derandomize=True)


@many
@given(layers())
def test_score_and_identity_coupling_keep_their_bounds(layer):
    x, y, _ = layer
    for shrinkage in (False, True):
        result = affinity(x, y, shrinkage=shrinkage)
        assert 0 <= result.score <= 1
        assert result.identity_coupling_score <= result.score


@many
@given(layers())
def test_translation_and_common_permutation_of_rows(layer):
    x, y, rng = layer
    expected = affinity_score(x, y)
    order = rng.permutation(len(x))
    assert affinity_score(x[order], y[order]) == pytest.approx(expected, abs=1e-8)
    assert affinity_score(x + 4, y - 2.5) == pytest.approx(expected, abs=1e-8)


@many
@given(layers())
def test_common_orthogonal_change_of_basis(layer):
    x, y, rng = layer
    rotation = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]
    assert affinity_score(x @ rotation, y @ rotation) == pytest.approx(affinity_score(x, y), abs=1e-7)


@many
@given(layers(), st.floats(0.01, 100), st.floats(0.01, 100))
def test_positive_scale_of_either_side(layer, a, b):
    x, y, _ = layer
    expected = affinity_score(x, y, regularization="relative")
    assert affinity_score(a * x, b * y, regularization="relative") == pytest.approx(expected, abs=1e-7)


def test_rotations_and_sign_flips_of_one_side_do_change_it():
    x = np.random.default_rng(0).normal(size=(200, 4)) @ np.diag([4, 2, 1, 0.5])
    assert affinity_score(x, x, regularization=0) == pytest.approx(1, abs=1e-7)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert affinity_score(x @ rotation, x) < 0.9
    assert affinity_score(-x[:, :1], np.exp(x[:, :1])) != pytest.approx(
        affinity_score(x[:, :1], np.exp(x[:, :1])), abs=1e-3
    )
