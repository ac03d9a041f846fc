"""A model is looked at in evaluation mode and in full precision, and nothing of the process is other afterwards."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.models.evaluation import evaluating
from hf_affscore.torch_settings import float32_precision


class Draws(nn.Module):
    """Uses up random numbers of three kinds, and notes what it finds set."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def forward(self, x: Tensor) -> Tensor:
        random.random(), np.random.random(), torch.rand(())
        self.found.append((float32_precision(), self.training, torch.is_grad_enabled()))
        return x.relu()


def test_random_numbers_go_on_as_if_nothing_had_run() -> None:
    def draws() -> tuple[float, float, float]:
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if run:
            with evaluating(model):
                model(torch.ones(1))
        return random.random(), float(np.random.random()), float(torch.rand(()))

    model = Draws()
    run = False
    expected = draws()
    run = True
    assert draws() == expected
    assert model.found == [("ieee", False, False)]
    assert model.training


def test_a_signature_names_the_precision_that_its_model_ran_in() -> None:
    torch.set_float32_matmul_precision("medium")
    found = []

    class Notes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found.append(float32_precision())
            return x.relu()

    try:
        signature = ha.analyze(Notes(), list(torch.randn(8, 3, 4, 4)), num_samples=8, progress=False)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(found) == {"ieee"}
    assert signature.metadata["environment"]["float32_precision"] == "ieee"


def test_bfloat16_products_on_a_cpu_do_not_change_a_score() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU())
    images = list(torch.randn(64, 3, 16, 16))
    scores = []
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        try:
            scores.append(ha.analyze(model, images, num_samples=64, progress=False).scores)
        finally:
            torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluating_ends_in_the_state_it_found(fails: bool) -> None:
    model = nn.Sequential(nn.Dropout(), nn.ReLU().eval())
    try:
        with evaluating(model):
            assert not any(part.training for part in model.modules())
            if fails:
                raise ValueError
    except ValueError:
        pass
    assert [part.training for part in model.modules()] == [True, True, False]
