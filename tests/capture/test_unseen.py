"""What cannot be watched is listed as such, and what other tools put in the place of torch's functions is seen."""

import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.capture import Capture, pool
from hf_affscore.errors import ModelError


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.parts)


def seen_in(function: Callable[..., Any], *parts: nn.Module, x: Tensor | None = None) -> Capture[Any]:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) if x is None else x
    model = Calls(function, *parts)
    with Capture(model, lambda tensor, site: pool(tensor, "paper", len(x))) as seen:
        model(x)
    return seen


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return counted


class Counting:
    """A callable object without a hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("wrap", [wrapped, Counting, lambda f: functools.wraps(f)(wrapped(f))])
@pytest.mark.parametrize("home", [F, torch, Tensor])
@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax"])
def test_a_function_that_another_tool_wraps_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, home: Any, wrap: Any
) -> None:
    if home is Tensor and wrap is Counting:
        pytest.skip("an object is no method")
    monkeypatch.setattr(home, name, wrap(getattr(home, name)))
    dim = {"dim": -1} if name == "softmax" else {}
    seen = seen_in(lambda x: getattr(home, name)(x, **dim))
    assert [call.site.activation for call in [*seen.calls, *seen.skipped]] == [name]


def test_functions_that_were_wrapped_when_the_package_was_imported_are_seen_when_they_are_back() -> None:
    code = """
import torch, torch.nn.functional as F
from torch import nn
kept = F.relu, torch.relu
F.relu, torch.relu = lambda *a, **k: kept[0](*a, **k), lambda *a, **k: kept[1](*a, **k)
from hf_affscore.capture import Capture
class Model(nn.Module):
    def forward(self, x):
        return F.relu(x) + torch.relu(x)
for _ in range(2):
    with Capture(Model(), lambda tensor, site: 0) as seen:
        Model().train(False)
        model = Model()
    with Capture(model, lambda tensor, site: 0) as seen:
        model(torch.ones(2, 2))
    print([call.site.activation for call in seen.calls])
    F.relu, torch.relu = kept
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['relu', 'relu']"] * 2


@pytest.mark.filterwarnings("ignore")
def test_fused_kernels_are_listed() -> None:
    import torch.ao.nn.intrinsic.quantized as fused

    q = torch.quantize_per_tensor(torch.randn(2, 3, 8, 8), 0.1, 0, torch.quint8)
    seen = seen_in(lambda x, conv: conv(q), fused.ConvReLU2d(3, 4, 3))
    assert [(str(skip.site), "fused kernel" in skip.reason) for skip in seen.skipped] == [
        ("parts.0 conv2d_relu#0", True)
    ]
    flat = torch.quantize_per_tensor(torch.randn(2, 3), 0.1, 0, torch.quint8)
    seen = seen_in(lambda x, linear: linear(flat), fused.LinearReLU(3, 4))
    assert [str(skip.site) for skip in seen.skipped] == ["parts.0 linear_relu#0"]
    seen = seen_in(lambda x: torch.ops.quantized.add_relu(flat, flat, 0.1, 0))
    assert [skip.site.activation for skip in seen.skipped] == ["add_relu"]
    bias, weight = torch.zeros(5), torch.ones(3, 5)
    seen = seen_in(lambda x: torch._addmm_activation(bias, x, weight))
    assert [skip.site.activation for skip in seen.skipped] == ["_addmm_activation"]


def test_custom_operators_are_listed_and_those_named_like_an_activation_are_scored() -> None:
    @torch.library.custom_op("affscoretest::silu", mutates_args=())
    def silu(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    @torch.library.custom_op("affscoretest::block", mutates_args=())
    def block(x: Tensor) -> Tensor:
        return x + 1

    seen = seen_in(lambda x: block(silu(x)))
    assert "silu" in [call.site.activation for call in seen.calls]
    assert ("affscoretest.block", "a custom operator; activations inside it cannot be observed") in [
        (skip.site.activation, skip.reason) for skip in seen.skipped
    ]


def test_what_runs_in_threads_of_the_model_is_listed() -> None:
    with ThreadPoolExecutor(2) as threads:
        relus = nn.ReLU(), nn.ReLU()
        seen = seen_in(lambda x, *parts: sum(threads.map(lambda part: part(x), parts)), *relus)
        assert [str(skip.site) for skip in seen.skipped] == ["parts.0 ReLU#0", "parts.1 ReLU#0"]
        assert "another thread" in seen.skipped[0].reason
        seen = seen_in(lambda x, part: threads.submit(part, x).result(), Calls(F.relu))
        assert [str(skip.site) for skip in seen.skipped] == ["parts.0 (thread)#0"]


def test_another_user_of_the_model_is_not_listed() -> None:
    model = nn.Sequential(nn.ReLU())
    with Capture(model, lambda tensor, site: 0) as seen:
        thread = threading.Thread(target=model, args=(torch.ones(2, 2),))
        thread.start()
        thread.join()
        model(torch.ones(2, 2))
    assert len(seen.calls) == 1
    assert not seen.skipped


def nested(layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=layout)


class Rows(Tensor):
    """A subclass with rules of its own, which has no memory and does not know its length."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Rows":
        return Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "mean" in str(func) or "_to_copy" in str(func):
            raise NotImplementedError(f"{func} is not what this is for")
        unwrapped = [arg.inner if isinstance(arg, Rows) else arg for arg in args]
        output = func(*unwrapped, **(kwargs or {}))
        return Rows(output) if isinstance(output, Tensor) else output


EXOTIC: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda x: F.relu(x.to_sparse()).to_dense(),
    "compressed": lambda x: x.to_sparse_csr().relu().to_dense(),
    "vmap": lambda x: torch.vmap(lambda row: row[None].transpose(0, 1).flatten().relu())(x),
    "grad": lambda x: torch.func.grad(lambda row: row.relu().sum())(x),
    "jvp": lambda x: torch.func.jvp(lambda row: row.t().relu(), (x,), (x,)),
    "nested": lambda x: nested(torch.strided).relu(),
    "jagged": lambda x: F.gelu(nested(torch.jagged)).values(),
    "gate of a sparse tensor": lambda x: F.silu(x.to_sparse().to_dense()),
    "meta": lambda x: x.to("meta").relu(),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).relu().dequantize(),
    "subclass": lambda x: Rows(x).relu().inner.reshape(2, -1),
    "complex": lambda x: torch.tanh(x.to(torch.complex64)).real,
    "empty": lambda x: x[:0].relu(),
    "mkldnn": lambda x: x.to_mkldnn().relu().to_dense(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", EXOTIC)
def test_a_model_of_exotic_tensors_runs_watched_as_it_runs_unwatched(kind: str) -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    expected = Calls(EXOTIC[kind])(x)
    found = []
    seen = seen_in(lambda y: found.append(EXOTIC[kind](y)), x=x)
    assert len(seen.calls) + len(seen.skipped) == 1
    assert all(skip.reason for skip in seen.skipped)
    if isinstance(expected, Tensor) and not expected.is_meta and not expected.is_nested:
        assert torch.equal(expected, found[0])


class Wrapping(Tensor):
    """A tensor that has no memory of its own, as distributed ones are."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*[arg.inner if isinstance(arg, cls) else arg for arg in args], **(kwargs or {}))
        return wrapping(output) if isinstance(output, Tensor) else output


def wrapping(inner: Tensor) -> Wrapping:
    outer = Wrapping._make_wrapper_subclass(Wrapping, inner.shape, dtype=inner.dtype)
    outer.inner = inner
    return outer


def test_inspect_and_analyze_agree_on_tensors_without_memory() -> None:
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), Calls(lambda x: F.gelu(wrapping(x)).inner))
    model.pretrained_cfg = {"input_size": (3, 2, 2), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    signature = ha.analyze(model, list(torch.randn(8, 3, 2, 2)), num_samples=8, progress=False)
    dry = ha.inspect(model)
    assert [row.activation for row in signature.rows] == [row.activation for row in dry.rows] == ["ReLU"]
    assert [dict(row) for row in signature.skipped] == [dict(row) for row in dry.skipped]
    assert "a Wrapping, has no rows that can be read" in dry.skipped[0].reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", [nn.LazyConv2d(4, 3), nn.Sequential(nn.Flatten(), nn.LazyLinear(4))])
def test_a_model_that_has_no_weights_yet_is_refused_in_a_sentence(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.ReLU())
    images = list(torch.randn(8, 3, 8, 8))
    for ask in (lambda: ha.analyze(model, images, num_samples=8, progress=False), lambda: ha.inspect(model)):
        with pytest.raises(ModelError, match="has none before its first input"):
            ask()
