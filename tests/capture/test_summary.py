"""Sparsity is counted on what an activation really returned, in every layout and format."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, register_activation
from hf_affscore.capture.summary import Summarize, Summary


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Shifted(nn.ReLU):
    """A ReLU by its class only."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input) + 1


def forward_replaced() -> nn.ReLU:
    module = nn.ReLU()
    module.forward = Shifted().forward
    return module


@register_activation
def relu(x: Tensor) -> Tensor:
    return x + 1


MODELS: dict[str, Callable[[], nn.Module]] = {
    "module": nn.ReLU,
    "in-place module": lambda: nn.ReLU(inplace=True),
    "functional": lambda: Calls(F.relu),
    "in-place functional": lambda: Calls(lambda x: F.relu(x, inplace=True)),
    "with a ceiling": lambda: nn.ReLU6(inplace=True),
    "derived class": Shifted,
    "forward replaced": forward_replaced,
    "function of that name": lambda: Calls(relu),
    "leaky": lambda: Calls(F.leaky_relu),
}
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "strided": lambda x: x[:, :, ::2, 3:],
    "transposed": lambda x: x.transpose(1, 3),
    "rows only": lambda x: x[:, :, 0, 0],
}
EDGES = [torch.nan, 0.0, -0.0, 1e-3, -1e-3, 1.001e-3, -1.001e-3, torch.inf, -torch.inf, 1e-40, -1e-40]


def values(dtype: torch.dtype) -> Tensor:
    """Around 1e-3, over more than one block per image, with everything special at the start of each."""
    x = 0.002 * torch.randn(4, 12, 75, 80, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, : len(EDGES), 0, 0] = torch.tensor(EDGES, dtype=torch.float64)
    return x.to(dtype)


def summaries(model: nn.Module, x: Tensor) -> tuple[Summary, Summary]:
    """What was kept of input and output of the only call."""
    summarize = Summarize("paper", num_samples=len(x), sparsity_samples=len(x), seed=0)
    summarize.start(range(len(x)))
    with Capture(model, summarize) as seen:
        model(x)
    (call,) = seen.calls
    return call.pre, call.post


def shares(x: Tensor) -> list[float]:
    dtype = torch.promote_types(x.dtype, torch.float32)
    return [float((image.to(dtype).abs() <= 1e-3).double().mean()) for image in x]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_entries_near_zero_are_those_of_what_ran(model: str, layout: str, dtype: torch.dtype) -> None:
    x = LAYOUTS[layout](values(dtype))
    network = MODELS[model]()
    pre, post = summaries(network, x.clone())
    np.testing.assert_allclose(pre.near_zero, shares(x), atol=1e-15)
    np.testing.assert_allclose(post.near_zero, shares(network(x.clone())), atol=1e-15)


def test_a_function_of_torch_that_somebody_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = torch.relu
    monkeypatch.setattr(torch, "relu", lambda x: genuine(x) + 1)
    x = values(torch.float32)
    _, post = summaries(nn.ReLU(), x.clone())
    np.testing.assert_allclose(post.near_zero, shares(x.relu() + 1), atol=1e-15)


def test_each_pass_begins_anew() -> None:
    site = CallSite("act", "ReLU", 0, "module")
    x = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [-1.0, 0.0]])
    summarize = Summarize("paper", num_samples=3, sparsity_samples=3, seed=0)
    summarize.start([0, 1, 2])
    summarize(x, site)  # the pass fails here, and is tried again in pieces
    for images in ([0, 1], [2]):
        summarize.start(images)
        assert summarize(x[images], site).near_zero.tolist() == [[0.0, 1.0, 0.5][image] for image in images]
        assert summarize(x[images].relu(), site).near_zero.tolist() == [1.0] * len(images)
