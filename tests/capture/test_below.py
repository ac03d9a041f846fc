"""What runs out of sight of Python's functions is listed, by ``analyze`` as by ``inspect``, and nothing else is."""

import ctypes
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

import hf_affscore as ha
from hf_affscore.capture.below import UNSEEN
from tests.capture.test_unseen import Calls, seen_in
from tests.capture.zoo import timm_models
from tests.versions import needs

pytestmark = pytest.mark.filterwarnings("ignore")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @torch.jit.script
    def scripted(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    traced = torch.jit.trace(lambda x: F.relu(x) + 1, torch.ones(2, 3))
    hidden = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.GELU()))


class ByScript(torch.autograd.Function):
    """A function with its own gradient, as libraries write them to save memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return scripted(x)


def hidden_from_functions(x: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return F.softplus(x)


BELOW: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "scripted function": (scripted, "sigmoid"),
    "traced function": (traced, "relu"),
    "scripted module that is no submodule": (lambda x: hidden(x), "gelu"),
    "scripted function with its own gradient": (ByScript.apply, "sigmoid"),
    "functions hidden from modes": (hidden_from_functions, "softplus"),
}


@pytest.mark.parametrize("kind", BELOW)
def test_an_activation_that_no_function_stands_for_is_listed(kind: str) -> None:
    function, name = BELOW[kind]
    seen = seen_in(function)
    assert not seen.calls
    assert [(skip.site.activation, skip.site.kind) for skip in seen.skipped] == [(name, "operator")]
    assert "below Python" in seen.skipped[0].reason


def rows(x: Tensor) -> Tensor:
    return x.reshape(4, 1, 1, 3)


KERNELS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "_scaled_dot_product_attention_math": (
        lambda x: torch._scaled_dot_product_attention_math(rows(x), rows(x), rows(x))[0],
        "attention is left out",
    ),
    "_scaled_dot_product_flash_attention_for_cpu": (
        lambda x: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(rows(x), rows(x), rows(x))[0],
        "attention is left out",
    ),
    "flex_attention": (
        lambda x: flex_attention(*(torch.ones(1, 1, 128, 16) * x.mean(),) * 3),
        "attention is left out",
    ),
    "_masked_softmax": (lambda x: torch._masked_softmax(x, x > 0, -1), "softmax mixes"),
    "_safe_softmax": (lambda x: torch._safe_softmax(x, -1), "softmax mixes"),
    "_sparse_softmax": (lambda x: torch.sparse.softmax(x.to_sparse(), 1).to_dense(), "softmax mixes"),
    "_linear_pointwise": (
        lambda x: torch.ops.mkldnn._linear_pointwise(x, torch.ones(5, 3), None, "relu", [], ""),
        "inside a fused kernel",
    ),
}


OLDER = {"flex_attention": [needs("torch", "2.11", "no mode observes it")]}


@pytest.mark.parametrize("name", [pytest.param(name, marks=OLDER.get(name, [])) for name in KERNELS])
def test_kernels_are_known_by_their_names(name: str) -> None:
    function, reason = KERNELS[name]
    seen = seen_in(function)
    assert [skip.site.activation for skip in seen.skipped] == [name]
    assert reason in seen.skipped[0].reason


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_quantised_recurrent_cells_are_listed_as_recurrent(cell: type[nn.Module]) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(cell(3, 3)), {cell})[0]
    seen = seen_in(lambda x, part: part(x[:, None] if cell in (nn.LSTM, nn.GRU) else x)[0], quantised)
    assert [skip.site.module for skip in seen.skipped] == ["parts.0"]
    assert "recurrent" in seen.skipped[0].reason


def in_a_thread(x: Tensor) -> Tensor:
    results: list[Tensor] = []
    thread = threading.Thread(target=lambda: results.append(torch.relu(x)))
    thread.start()
    thread.join()
    return results[0]


def in_an_old_pool(x: Tensor) -> Tensor:
    return torch.cat(POOL.map(F.gelu, x.chunk(2)))


POOL = ThreadPool(1)
EXECUTOR = ThreadPoolExecutor(1)


def kernel_of_its_own(x: Tensor) -> Tensor:
    """As Triton and extensions with raw pointers do it: memory from torch, values from elsewhere."""
    output = torch.empty_like(x)
    ctypes.memmove(output.data_ptr(), x.contiguous().data_ptr(), x.nbytes)
    return output * 1


def kernel_in_c(x: Tensor) -> Tensor:
    """The same by an extension, where no function of Python asks for the address."""
    with torch._C.DisableTorchFunction():
        return kernel_of_its_own(x)


def kernel_in_place(x: Tensor) -> Tensor:
    output = x.clone()
    ctypes.memset(output.data_ptr(), 0, output.nbytes // 2)
    return output + 1


def numpy_in_place(x: Tensor) -> Tensor:
    output = x.clone()
    array = output.numpy()
    np.tanh(array, out=array)
    return output


OUT_OF_SIGHT: dict[str, Callable[[Tensor], Any]] = {
    "thread": in_a_thread,
    "executor": lambda x: EXECUTOR.submit(F.silu, x).result(),
    "numpy": lambda x: torch.from_numpy(np.tanh(x.numpy())),
    "array": lambda x: torch.as_tensor(np.maximum(np.asarray(x), 0)),
    "function of numpy": lambda x: np.tanh(x) + 1,
    "dlpack": lambda x: torch.from_dlpack(np.tanh(np.from_dlpack(x))),
    "lists": lambda x: torch.tensor([[max(value, 0.0) for value in row] for row in x.tolist()]),
    "kernel": kernel_of_its_own,
    "kernel in C": kernel_in_c,
    "kernel in place": kernel_in_place,
    "numpy in place": numpy_in_place,
    "every entry": lambda x: x.clone().apply_(lambda value: max(value, 0.0)),
}


@pytest.mark.parametrize("kind", OUT_OF_SIGHT)
def test_values_that_no_operator_made_are_listed_where_they_turn_up(kind: str) -> None:
    seen = seen_in(lambda x, part: part(x) + 1, Calls(OUT_OF_SIGHT[kind]))
    assert [(skip.site.module, skip.site.activation) for skip in seen.skipped] == [("parts.0", UNSEEN)]
    assert not seen.calls


CONSTANT = torch.arange(12.0).reshape(3, 4)
MEMORY: dict[int, Tensor] = {}


def filled(x: Tensor) -> Tensor:
    output = torch.empty_like(x)
    output[:, 0] = x[:, 0]
    output[:, 1:].copy_(x[:, 1:])
    return output


class Plain(nn.Module):
    """What ordinary models do beside functions of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [torch.ones(4, 3)]  # neither a parameter nor a buffer, with as many rows as images
        self.offset = nn.Parameter(torch.ones(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.weights[0] + self.offset + self.offset.detach()
        x = x @ CONSTANT + torch.tensor([1.0, 2.0, 3.0, 4.0]) + torch.from_numpy(np.ones(4, dtype=np.float32))
        x = filled(x) + x.new_zeros(4, 4) + torch.zeros_like(torch.empty(4, 4))
        x = x * float(x.detach().numpy().max()) + len(x.tolist())
        x.data_ptr()
        x = x.detach() + torch.tanh(x.detach(), out=torch.empty_like(x))
        x = torch.add(x, 0, out=torch.empty_like(x))
        return torch.stack(list(x)).sort(dim=1)[0]


def test_what_ordinary_models_do_is_no_alarm() -> None:
    for _ in range(2):
        seen = seen_in(lambda x, part: part(x), Plain())
        assert not seen.skipped


@pytest.mark.parametrize("architecture", [a for n, a in enumerate(timm_models(True)) if n % 12 == 0])
def test_no_alarm_on_published_architectures(architecture: Any) -> None:
    with torch.device("meta"):
        model = architecture.build()
    assert [row for row in ha.inspect(model).skipped if row.kind == "operator"] == []


class OutOfSight(nn.Module):
    """A network with what is seen, what runs below Python, and what runs in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 3)
        self.script, self.thread, self.array = Calls(scripted), Calls(in_a_thread), Calls(numpy_in_place)
        self.parts = Calls(in_an_old_pool)
        self.pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.linear(x.flatten(1)))
        return self.parts(self.thread(self.array(self.script(x))))


@pytest.mark.parametrize("batch_size", [2, 16])
def test_analyze_and_inspect_list_the_same(batch_size: int) -> None:
    model = OutOfSight()
    images = list(torch.randn(35, 3, 8, 8))
    signature = ha.analyze(model, images, num_samples=35, batch_size=batch_size, progress=False)
    dry = ha.inspect(model)
    expected = [("script", "sigmoid"), ("array", UNSEEN), ("thread", UNSEEN), ("parts", UNSEEN)]
    assert [(row.module, row.activation) for row in signature.skipped] == expected
    assert [dict(row) for row in signature.skipped] == [dict(row) for row in dry.skipped]
    assert [row.activation for row in signature.rows] == [row.activation for row in dry.rows] == ["tanh"]


def test_a_pass_that_does_not_look_below_costs_nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_affscore.capture.below import Below

    looked: list[int] = []
    enter = Below.__enter__
    monkeypatch.setattr(Below, "__enter__", lambda self: (looked.append(1), enter(self))[1])
    images = list(torch.randn(64, 3, 8, 8))
    ha.analyze(OutOfSight(), images, num_samples=64, batch_size=4, progress=False)
    assert len(looked) <= 3  # the passes before the analysis, of 16


class Shy(nn.Module):
    """A network that refuses to run while operators are observed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 3)
        self.pretrained_cfg = OutOfSight().pretrained_cfg

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._len_torch_dispatch_stack():
            raise RuntimeError("somebody listens")
        return torch.relu(self.linear(x.flatten(1)))


def test_a_model_that_runs_only_unobserved_is_scored_and_the_gap_is_listed() -> None:
    images = list(torch.randn(32, 3, 8, 8))
    signature = ha.analyze(Shy(), images, num_samples=32, progress=False)
    dry = ha.inspect(Shy())
    assert [row.activation for row in signature.rows] == [row.activation for row in dry.rows] == ["relu"]
    assert [dict(row) for row in signature.skipped] == [dict(row) for row in dry.skipped]
    assert "fails while its operators are observed" in signature.skipped[0].reason
