"""A ReLU's output is counted on its input: the same numbers to the bit, and for torch's own ReLU only."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, register_activation, summary
from hf_affscore.capture.summary import Summarize, Summary, near_zero_shares


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Leaky(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, 0.5)


def leaky_forward() -> nn.ReLU:
    module = nn.ReLU()
    module.forward = Leaky().forward
    return module


RELUS = {
    "module": nn.ReLU(),
    "in-place module": nn.ReLU(inplace=True),
    "functional": Calls(F.relu),
    "in-place functional": Calls(lambda x: F.relu(x, inplace=True)),
    "torch": Calls(torch.relu),
    "in-place torch": Calls(torch.relu_),
    "method": Calls(Tensor.relu),
    "in-place method": Calls(Tensor.relu_),
    "operator": Calls(torch.ops.aten.relu),
    "with a ceiling": nn.ReLU6(inplace=True),
    "functional with a ceiling": Calls(F.relu6),
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
    x[:, 0, :2, : len(EDGES)] = torch.tensor(EDGES, dtype=torch.float64)
    return x.to(dtype)


def summaries(
    model: nn.Module, x: Tensor, looked_at: Callable[[CallSite], CallSite] = lambda site: site
) -> tuple[list[bool], list[Summary]]:
    """Whether each call was taken for a ReLU, and what was kept of its input and output."""
    summarize = Summarize("paper", num_samples=len(x), sparsity_samples=len(x) - 1, seed=0)
    summarize.start(range(len(x)))
    with Capture(model, lambda tensor, site: summarize(tensor, looked_at(site))) as seen:
        model(x)
    return [call.site.is_relu for call in seen.calls], [
        side for call in seen.calls for side in (call.pre, call.post)
    ]


def by_reading_the_output(site: CallSite) -> CallSite:
    return replace(site, is_relu=False)


def assert_same(first: list[Summary], second: list[Summary]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.near_zero, other.near_zero)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", RELUS)
def test_counting_on_the_input_gives_the_bits_of_counting_on_the_output(
    form: str, layout: str, dtype: torch.dtype
) -> None:
    x = LAYOUTS[layout](values(dtype))
    taken, found = summaries(RELUS[form], x.clone())
    _, expected = summaries(RELUS[form], x.clone(), by_reading_the_output)
    assert taken == [True]
    assert found[1].near_zero.min() > found[0].near_zero.max()  # all that is negative became zero
    assert_same(found, expected)


@pytest.mark.parametrize("model", [Leaky(), leaky_forward(), Calls(F.leaky_relu), nn.Hardtanh(0, 6)])
def test_what_only_looks_like_a_relu_is_counted_on_its_output(model: nn.Module) -> None:
    taken, found = summaries(model, values(torch.float32))
    _, expected = summaries(model, values(torch.float32), by_reading_the_output)
    assert taken == [False]
    assert_same(found, expected)


def test_a_function_of_that_name_is_no_relu() -> None:
    @register_activation
    def relu(x: Tensor) -> Tensor:
        return x + 1

    taken, found = summaries(Calls(relu), values(torch.float32))
    assert taken == [False]
    assert found[1].near_zero.max() == 0


def test_the_output_of_a_relu_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def count(images: list[Tensor]) -> np.ndarray:
        counted.append(len(images))
        return near_zero_shares(images)

    monkeypatch.setattr(summary, "near_zero_shares", count)
    for model, expected in ((nn.ReLU(), [3]), (nn.ReLU6(), [3]), (nn.Hardtanh(0, 6), [3, 3])):
        counted.clear()
        summaries(model, values(torch.float32))
        assert counted == expected


def test_calls_that_fail_repeat_or_nest_do_not_mix() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            with pytest.raises(TypeError):
                F.relu(x, x, x)  # its input is counted, its output never comes
            x = self.act(self.act(x) - 0.001)
            return F.relu(x.relu() - 0.001)

    taken, found = summaries(Model(), values(torch.float32))
    _, expected = summaries(Model(), values(torch.float32), by_reading_the_output)
    assert taken == [True] * 4
    assert_same(found, expected)


def test_each_pass_begins_anew() -> None:
    site = CallSite("act", "ReLU", 0, "module", is_relu=True)
    x = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [-1.0, 0.0]])
    summarize = Summarize("paper", num_samples=3, sparsity_samples=3, seed=0)
    summarize.start([0, 1, 2])
    summarize(x, site)  # the pass fails here, and is tried again in pieces
    for images in ([0, 1], [2]):
        summarize.start(images)
        assert summarize(x[images], site).near_zero.tolist() == [[0.0, 1.0, 0.5][image] for image in images]
        assert summarize(x[images].relu(), site).near_zero.tolist() == [1.0] * len(images)
