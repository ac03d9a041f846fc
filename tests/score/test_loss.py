"""The differentiable score: the value of the exact one under the identity coupling, and its true slope."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hf_affscore as ha
from hf_affscore.errors import InputError
from hf_affscore.score import affinity, loss
from hf_affscore.score.loss import affinity_loss

DATA = Path(__file__).parents[1] / "data"
TRUTH = json.loads((DATA / "truth.json").read_text())


def rows(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("truth", TRUTH, ids=lambda truth: truth["name"])
def test_real_activations_have_the_true_value(truth):
    with np.load(DATA / "activations.npz") as stored:
        x, y = (torch.from_numpy(stored[f"{truth['name']}_{side}"]).double() for side in ("pre", "post"))
    assert affinity_loss(x, y).item() == pytest.approx(truth["identity_coupling_score"], abs=1e-9)


@pytest.mark.parametrize("regularization", [1e-6, 0.0, "relative", 0.3])
@pytest.mark.parametrize(("n", "d"), [(50, 1), (50, 4), (20, 20), (10, 15), (8, 40), (2, 300), (400, 150)])
def test_value_is_the_score_of_the_identity_coupling(n, d, regularization):
    x = rows(n, d) @ torch.diag(torch.logspace(-2, 2, d, dtype=torch.float64))
    y = x.relu()
    expected = affinity(x, y, regularization=regularization)
    found = affinity_loss(x, y, regularization=regularization).item()
    assert found == pytest.approx(expected.identity_coupling_score, abs=1e-9)
    assert found <= expected.score + 1e-9


@pytest.mark.parametrize("regularization", [1e-2, "relative"])
@pytest.mark.parametrize(("n", "d"), [(12, 3), (6, 6), (4, 7), (3, 9)])
def test_gradient_equals_finite_differences(n, d, regularization):
    x, y = rows(n, d), rows(n, d, seed=1)
    x, y = x.requires_grad_(), (x.detach().tanh() + 0.3 * y).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: affinity_loss(x, y, regularization=regularization), (x, y), atol=1e-6, rtol=1e-4
    )


def test_a_relative_ridge_has_its_share_in_the_gradient(monkeypatch):
    """At its real size of 1e-6 the share would be lost in the error of finite differences."""
    monkeypatch.setattr(loss, "RELATIVE_RIDGE", 0.2)
    x, y = rows(12, 3).requires_grad_(), rows(12, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: loss.affinity_loss(x, y, regularization="relative"), (x, y), atol=1e-6, rtol=1e-4
    )


def test_gradient_through_the_activation_equals_finite_differences():
    assert torch.autograd.gradcheck(
        lambda x: affinity_loss(x, torch.tanh(2 * x)), (rows(15, 3).requires_grad_(),), atol=1e-6, rtol=1e-4
    )


def test_repeated_eigenvalues_are_nothing_special():
    """All eigenvalues of both covariances are equal, where the derivative of eigh divides by zero."""
    corners = torch.cat([torch.eye(4), -torch.eye(4)]).double()
    spectrum = torch.linalg.eigvalsh(corners.T @ corners)
    assert spectrum[0] == spectrum[-1]
    x, y = corners.clone().requires_grad_(), (3 * corners @ torch.linalg.qr(rows(4, 4))[0]).requires_grad_()
    assert torch.autograd.gradcheck(affinity_loss, (x, y), atol=1e-6, rtol=1e-4)
    affinity_loss(x, y).backward()
    assert x.grad.abs().max() > 1e-3


def test_features_that_are_copies_or_dead_have_finite_true_gradients():
    """Covariances of rank 2 in 5 dimensions, one feature dead after the activation."""
    mixing = torch.tensor([[1.0, 0, 1, 2, 0], [0, 1, 1, 0, 0]], dtype=torch.float64)

    def score(x):
        pre = x @ mixing - torch.tensor([0, 0, 0, 0, 1.0], dtype=torch.float64)
        return affinity_loss(pre, pre.relu())

    x = rows(20, 2).requires_grad_()
    assert torch.autograd.gradcheck(score, (x,), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("regularization", [1e-6, 0.0, "relative"])
def test_constant_sides_give_finite_values_and_gradients(regularization):
    varying = rows(10, 3)
    for pre, post in ((varying, varying * 0 + 0.1), (varying * 0 + 0.1, varying), (varying * 0, varying * 0)):
        pre, post = pre.clone().requires_grad_(), post.clone().requires_grad_()
        score = affinity_loss(pre, post, regularization=regularization)
        score.backward()
        expected = affinity(pre, post, regularization=regularization).identity_coupling_score
        assert score.item() == pytest.approx(expected, abs=1e-9)
        assert torch.isfinite(pre.grad).all()
        assert torch.isfinite(post.grad).all()


def test_an_affine_activation_scores_one_with_finite_gradient():
    x = rows(50, 3).requires_grad_()
    score = affinity_loss(x, 2 * x + 1, regularization=0)
    score.backward()
    assert score.item() == pytest.approx(1, abs=1e-7)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_is_computed_in_float64(dtype):
    x = rows(64, 4).to(dtype).requires_grad_()
    score = affinity_loss(x, x.relu())
    score.backward()
    assert (score.dtype, x.grad.dtype) == (dtype, dtype)
    exact = affinity_loss(x.detach().double(), x.detach().double().relu())
    assert score.item() == exact.to(dtype).item()


def test_second_derivatives_are_an_error_not_a_wrong_number():
    x = rows(15, 3).requires_grad_()
    with pytest.raises(InputError, match="affinity_loss has no second derivatives"):
        torch.autograd.grad(affinity_loss(x, x.tanh()), x, create_graph=True)


def test_gradient_steps_move_the_score_the_way_they_should():
    """A shift decides how much of ReLU's kink the rows see."""
    x = rows(200, 4)
    for sign in (1, -1):
        shift = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([shift], lr=1.0)
        scores = []
        for _ in range(20):
            score = affinity_loss(x + shift, (x + shift).relu())
            optimizer.zero_grad()
            (sign * score).backward()
            optimizer.step()
            scores.append(score.item())
        assert sign * (scores[-1] - scores[0]) < -0.1


@pytest.mark.parametrize(
    ("pre", "post", "message"),
    [
        (torch.ones(4, 2), torch.ones(4, 3), r"\(4, 2\) and post \(4, 3\)"),
        (torch.ones(4, 2, 2), torch.ones(4, 2, 2), "Pool or flatten"),
        (torch.ones(1, 2), torch.ones(1, 2), "1 sample; a covariance needs at least 2"),
        (torch.ones(3), torch.tensor([1.0, float("nan"), 1.0]), "post has 1 NaN or infinite of 3"),
        (torch.ones(3, dtype=torch.int64), torch.ones(3), "pre is torch.int64; expected a floating point"),
        (np.ones(3), torch.ones(3), "pre is ndarray; expected a floating point torch tensor"),
    ],
)
def test_bad_arguments_say_what_was_received(pre, post, message):
    with pytest.raises(InputError, match=message):
        ha.affinity_loss(pre, post)


def test_scores_of_arrays_need_no_torch():
    code = (
        "import sys, numpy, hf_affscore as ha; ha.affinity_score(numpy.eye(3), numpy.eye(3)); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
