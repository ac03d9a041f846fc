"""The score against closed forms, the 40-digit truth, the paper's figures and what must not change it."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_affscore.errors import InputError
from hf_affscore.score import affinity, affinity_score, score_layer

DATA = Path(__file__).parents[1] / "data"
TRUTH = json.loads((DATA / "truth.json").read_text())
FIGURES = json.loads((DATA / "paper_figures.json").read_text())


def relu(x):
    return np.maximum(x, 0)


@pytest.fixture(scope="module")
def activations():
    return np.load(DATA / "activations.npz")


@pytest.mark.parametrize("truth", TRUTH, ids=lambda truth: truth["name"])
def test_real_activations_to_nine_digits(activations, truth):
    x, y = activations[truth["name"] + "_pre"], activations[truth["name"] + "_post"]
    result = affinity(x, y)
    assert result.score == pytest.approx(truth["affinity_score"], abs=1e-11)
    assert result.identity_coupling_score == pytest.approx(truth["identity_coupling_score"], abs=1e-11)


def test_polynomials_of_the_paper():
    figures = FIGURES["polynomials"]
    x = np.linspace(-1, 1, 1000)
    scores = [affinity_score(x, x**order) for order in figures["orders"]]
    # 1e-4: their float32 calls the identity 0.9999.
    np.testing.assert_allclose(scores, figures["measured"], atol=1.01e-4)


def test_activations_of_the_paper_and_the_sliding_relu():
    np.random.seed(987)
    functions = [relu, np.tanh, lambda x: 1 / (1 + np.exp(-x))]
    scores = [affinity_score(x, f(x)) for f in functions for x in [np.random.normal(-1, 2, (1000, 1))]]
    np.testing.assert_allclose(scores, FIGURES["activations"]["measured"], atol=2e-6)
    samples = [np.random.uniform(m - 2, m + 2, (1000, 1)) for m in np.linspace(-4, 4, 20)]
    sweep = np.array([affinity_score(x, relu(x)) for x in samples])
    figures = FIGURES["relu_sweep"]
    np.testing.assert_allclose(sweep[figures["index"]], figures["measured"], atol=2e-5)


def test_positive_semidefinite_affine_maps_score_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    half = rng.normal(size=(5, 5))
    assert affinity_score(x, x @ (half @ half.T) + 3, regularization=0) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_torch_in_any_precision_is_its_own_float64_value(dtype):
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    y = x.relu()
    assert affinity_score(x, y) == affinity_score(x.double().numpy(), y.double().numpy())


def test_constant_output_is_affine_and_flagged():
    x = np.random.default_rng(0).normal(size=(50, 3))
    result = affinity(x, np.full((50, 3), 0.1))
    assert (result.score, result.flag) == (1.0, "constant output")
    assert affinity_score(x, x * 0 + 7, regularization=0) == 1.0


def test_constant_input_leaves_the_spread_of_the_output():
    y = np.random.default_rng(0).normal(size=(50, 3))
    result = affinity(np.full((50, 3), 0.1), y, regularization=0)
    assert result.score == pytest.approx(1 - (49 / 50 / 2) ** 0.5, abs=1e-12)
    assert result.flag == "constant input"


@pytest.mark.parametrize(
    ("pre", "post", "message"),
    [
        (np.ones((4, 2)), np.ones((4, 3)), r"\(4, 2\) and post \(4, 3\)"),
        (np.ones((4, 2, 2)), np.ones((4, 2, 2)), "Pool or flatten .* tokens"),
        (np.float64(1), np.float64(1), "Pool or flatten"),
        (np.ones((4, 0)), np.ones((4, 0)), "Pool or flatten"),
        (np.ones((1, 2)), np.ones((1, 2)), "1 sample; a covariance needs at least 2. Pass one row"),
        (np.array([[1.0], [np.nan]]), np.ones((2, 1)), "pre has 1 NaN or infinite of 2"),
        (np.ones((2, 1)), np.array([[1.0], [np.inf]]), "post has 1 NaN or infinite of 2"),
        (np.array([1.0, 1e160]), np.ones(2), "beyond 1e"),
        (np.array([1.0, 2.0]), np.array([0.0, 1e-90]), "no entry beyond 1e-70"),
        (["a", "b"], ["c", "d"], "real numbers"),
        ([[1, 2], [3]], [[1, 2], [3]], "unequal length"),
        (np.ones(3, complex), np.ones(3), "complex"),
        (torch.ones(3, dtype=torch.complex64), torch.ones(3), "complex"),
        (None, np.ones(3), "real numbers"),
    ],
)
def test_bad_arguments_say_what_was_received(pre, post, message):
    with pytest.raises(InputError, match=message):
        affinity_score(pre, post)


@pytest.mark.parametrize("regularization", [-1.0, float("nan"), float("inf"), "ridge", None])
def test_bad_regularization(regularization):
    with pytest.raises(InputError, match="regularization"):
        affinity_score([1, 2, 3], [1, 2, 4], regularization=regularization)


def test_a_layer_with_nan_is_a_row_of_nan_with_its_reason():
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = relu(x)
    y[3, 1] = np.nan
    record = score_layer(x, y, shrinkage=True, regularization=1e-6)
    assert (record.pop("evidence"), record.pop("effects")) == ("undefined", ())
    assert record.pop("reason") == "post has 1 NaN or infinite of 150 entries"
    assert all(np.isnan(value) for value in record.values())


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x, y in [(np.zeros((4, 2)), np.zeros((4, 2))), (np.eye(3), np.zeros((3, 3)))]:
            for regularization in (0, 1e-6, "relative"):
                score_layer(x, y, shrinkage=True, regularization=regularization)
                score_layer(y, x, shrinkage=True, regularization=regularization)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e20, 1e30, 9e69])
def test_relative_ridge_makes_any_scale_score_alike(scale):
    x = np.random.default_rng(0).uniform(-1, 1, size=(100, 3))
    y = np.sin(5 * x)
    for shrinkage in (False, True):
        expected = affinity_score(x, y, regularization="relative", shrinkage=shrinkage)
        scaled = affinity_score(x * scale, y * scale, regularization="relative", shrinkage=shrinkage)
        assert scaled == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "unfit",
    [
        np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False]),
        torch.nested.nested_tensor([torch.zeros(3), torch.zeros(2)], layout=torch.jagged),
        [torch.zeros(1, requires_grad=True)] * 3,
    ],
    ids=["masked", "nested", "list of tensors with gradients"],
)
def test_what_cannot_be_read_as_rows_is_refused_in_a_sentence(unfit):
    with pytest.raises(InputError, match="expected a dense numpy array"):
        affinity_score(unfit, [1.0, 2.0, 3.0])


def test_lazily_negated_tensors_are_read():
    lazy = torch.complex(torch.zeros(9), torch.arange(9.0)).conj().imag
    assert affinity_score(lazy, torch.arange(9.0)) == affinity_score(-torch.arange(9.0), torch.arange(9.0))


def test_a_ridge_may_be_a_number_of_numpy():
    x, ridge = np.arange(9.0), np.float32(1e-6)
    one, other = (affinity_score(x, x**2, regularization=number) for number in (ridge, float(ridge)))
    assert one == other


@pytest.mark.parametrize("regularization", [0.0, "relative"])
def test_a_spread_whose_square_float64_cannot_hold_is_no_error(regularization):
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = np.full_like(x, 1e-69)
    y[0] += 1e-84
    assert 0 <= affinity_score(x, y, regularization=regularization) <= 1


class OnMps(torch.Tensor):
    """A tensor as on Apple's accelerator: there is no float64, and what is not moved first cannot be computed."""

    @property
    def device(self):
        return torch.device("mps")

    def to(self, *arguments, dtype=None, **keywords):
        if dtype is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return super().to(*arguments, dtype=dtype, **keywords)

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.float32])
def test_rows_on_an_accelerator_without_float64_go_through_main_memory(dtype):
    x = (torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    y = x.clamp(min=0)
    there = affinity_score(x.as_subclass(OnMps), y.as_subclass(OnMps))
    assert there == affinity_score(x, y)
