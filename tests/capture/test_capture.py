"""What a capture sees, in which order, and that it leaves no trace."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, Skip, Watched
from hf_affscore.errors import InputError, ModelError


def keep(tensor: Tensor, site: CallSite) -> Tensor:
    return tensor.clone()


def names(seen: Capture) -> list[str]:
    return [str(call.site) for call in seen.calls]


class Everything(nn.Module):
    """Modules, functions, methods, a reused module, in-place calls."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x - 1)
        x = self.body(x)
        x = F.gelu(x)
        x = torch.sigmoid(x).sub(0.5).relu_()
        x = self.act(x - 0.1)
        return F.relu(x - 0.2) + x.softmax(-1)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def test_one_entry_per_call_in_execution_order(x: Tensor) -> None:
    model = Everything()
    with Capture(model, keep) as seen:
        model(x)
    assert names(seen) == [
        "act ReLU#0",
        "body.1 Tanh#0",
        "(model) gelu#0",
        "(model) sigmoid#0",
        "(model) relu#0",
        "act ReLU#1",
        "(model) relu#1",
    ]
    assert [call.site.kind for call in seen.calls] == ["module"] * 2 + ["function"] * 3 + [
        "module",
        "function",
    ]
    assert [(str(skip.site), "softmax" in skip.reason) for skip in seen.skipped] == [
        ("(model) softmax#0", True)
    ]


def test_input_is_taken_before_an_in_place_call(x: Tensor) -> None:
    model = nn.ReLU(inplace=True)
    with Capture(model, keep) as seen:
        model(x.clone())
    (call,) = seen.calls
    assert call.site == CallSite("(model)", "ReLU", 0, "module")
    assert torch.equal(call.pre, x)
    assert torch.equal(call.post, x.relu())


FORMS = {
    "relu": [F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, torch.ops.aten.relu.default],
    "sigmoid": [F.sigmoid, torch.sigmoid, Tensor.sigmoid_, torch.special.expit],
    "tanh": [F.tanh, torch.tanh, Tensor.tanh_],
    "gelu": [F.gelu, torch.ops.aten.gelu],
    "logsigmoid": [F.logsigmoid],
    "softplus": [F.softplus],
    "hardtanh": [F.hardtanh, torch.nn.functional.hardtanh_],
    "relu6": [F.relu6],
    "silu": [F.silu, lambda x: F.silu(x, inplace=True), lambda x: F.silu(input=x)],
    "prelu": [lambda x: F.prelu(x, torch.tensor([0.1])), lambda x: torch.prelu(x, torch.tensor([0.1]))],
    "leaky_relu": [F.leaky_relu, F.leaky_relu_],
    "elu": [F.elu, F.elu_],
    "hardswish": [F.hardswish],
    "hardsigmoid": [F.hardsigmoid],
    "softsign": [F.softsign],
    "tanhshrink": [F.tanhshrink],
    "mish": [F.mish],
    "celu": [F.celu],
    "selu": [F.selu],
    "rrelu": [F.rrelu],
    "hardshrink": [F.hardshrink],
    "softshrink": [F.softshrink],
    "threshold": [lambda x: F.threshold(x, 0.0, 0.0)],
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_function_is_one_call(name: str, x: Tensor) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [form(x.clone()) for form in FORMS[name]]

    model = Model()
    with Capture(model, keep) as seen:
        outputs = model(x)
    assert names(seen) == [f"(model) {name}#{i}" for i in range(len(FORMS[name]))]
    for call, output in zip(seen.calls, outputs, strict=True):
        assert torch.equal(call.pre, x)
        assert torch.equal(call.post, output)


def test_a_composite_is_one_call(x: Tensor) -> None:
    from timm.layers.activations import Swish
    from transformers.activations import ACT2FN

    class Function(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x)

    composites = (ACT2FN["quick_gelu"], ACT2FN["gelu_new"], ACT2FN["gelu"], Swish(inplace=True))
    model = nn.Sequential(*composites, Function())
    with Capture(model, keep) as seen:
        model(x)
    assert names(seen) == [
        "0 QuickGELUActivation#0",
        "1 NewGELUActivation#0",
        "2 GELUActivation#0",
        "3 Swish#0",
        "4 relu#0",
    ]


def test_attention_is_reported_and_not_scored(x: Tensor) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mha = nn.MultiheadAttention(4, 2, batch_first=True)
            self.self_attn = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))
            self.pattn = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.mha(x[None], x[None], x[None], need_weights=False)[0]
            x = F.scaled_dot_product_attention(x, x, x)
            return self.pattn(self.self_attn(x))

    model = Block().eval()
    with Capture(model, keep) as seen:
        model(x)
    assert names(seen) == ["pattn ReLU#0"]
    assert [str(skip.site) for skip in seen.skipped] == [
        "mha MultiheadAttention#0",
        "(model) scaled_dot_product_attention#0",
        "self_attn.0 ReLU#0",
    ]
    assert all("attention" in skip.reason or "attn" in skip.reason for skip in seen.skipped)


def test_skip_on_either_side_and_other_shapes(x: Tensor) -> None:
    def reluctant(tensor: Tensor, site: CallSite) -> float:
        if tensor.max() <= 1 and site.activation == "Sigmoid":
            raise Skip("saturated")
        return 0.0

    model = nn.Sequential(nn.Sigmoid(), nn.Sigmoid(), nn.ReLU())
    with Capture(model, reluctant) as seen:
        model(x)
    assert names(seen) == ["2 ReLU#0"]
    assert [skip.reason for skip in seen.skipped] == ["saturated", "saturated"]


def state(model: nn.Module) -> list[dict[str, object]]:
    """Everything a module carries, hooks included."""
    return [{name: repr(value) for name, value in vars(module).items()} for module in model.modules()]


def test_no_trace_and_equal_outputs(x: Tensor) -> None:
    model = Everything().eval()
    before, bare = state(model), model(x)
    with Capture(model, keep):
        watched = model(x)
    assert torch.equal(bare, watched)
    assert watched.requires_grad
    assert state(model) == before


def test_no_trace_after_an_error_anywhere(x: Tensor) -> None:
    def refuse(tensor: Tensor, site: CallSite) -> None:
        raise RuntimeError("out of disk")

    model = Everything()
    before = state(model)
    with pytest.raises(RuntimeError, match="out of disk"), Capture(model, refuse):
        model(x)
    with pytest.raises(RuntimeError, match="shapes"), Capture(model, keep):
        model(x[:, :3])

    class Interrupted(nn.GELU):
        def forward(self, input: Tensor) -> Tensor:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Capture(interrupted := Interrupted(), keep):
        interrupted(x)
    assert state(model) == before
    assert torch.overrides._get_current_function_mode_stack() == []
    with Capture(model, keep) as seen:
        model(x)
    assert len(seen.calls) == 7


def test_an_error_the_model_catches_does_not_shift_names(x: Tensor) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails = Fails()

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.fails(x)
            except ValueError:
                return F.relu(x)

    model = Model()
    with Capture(model, keep) as seen:
        model(x)
    assert names(seen) == ["(model) relu#0"]


def test_nesting_is_refused(x: Tensor) -> None:
    model = Everything()
    with Capture(model, keep) as seen:
        with pytest.raises(InputError, match="one capture at a time"), Capture(nn.ReLU(), keep):
            pass
        model(x)
    assert len(seen.calls) == 7
    with Capture(model, keep):
        pass


def test_threads_sharing_a_model_see_their_own_calls(x: Tensor) -> None:
    model = Everything().eval()
    seen: dict[int, Capture] = {}
    barrier = threading.Barrier(4)

    def run(number: int) -> None:
        with Capture(model, keep) as seen[number]:
            barrier.wait()
            for _ in range(20):
                model(x + number)
            barrier.wait()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [0, 1, 2, 3]
    for number, capture in seen.items():
        assert len(capture.calls) == 7 * 20
        assert torch.equal(capture.calls[0].pre, x + number - 1)


def test_scripted_models_are_refused() -> None:
    model = nn.Sequential(torch.jit.script(nn.ReLU()))
    with (
        pytest.raises(ModelError, match=r"0 \(RecursiveScriptModule\) is a TorchScript module"),
        Capture(model, keep),
    ):
        pass


def test_a_parallel_wrapper_on_one_device_is_seen_through(x: Tensor) -> None:
    model = nn.DataParallel(nn.Sequential(nn.ReLU()))
    with Capture(model, keep) as seen:
        model(x)
    assert names(seen) == ["module.0 ReLU#0"]


@pytest.mark.parametrize("context", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_under_inference_mode_and_autocast(context, x: Tensor) -> None:
    model = Everything().eval()
    with context():
        bare = model(x)
        with Capture(model, keep) as seen:
            watched = model(x)
    assert torch.equal(bare, watched)
    assert len(seen.calls) == 7
    np.testing.assert_array_equal(seen.calls[1].post.float(), seen.calls[1].pre.tanh().float())


def test_watched_is_entered_once_and_by_one_thread_at_a_time(x: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    watched = Watched(model)
    before = state(model)
    with watched:
        with pytest.raises(InputError, match="not watched yet"), watched:
            pass
        with (
            Capture(watched, keep),
            ThreadPoolExecutor(1) as other,
            pytest.raises(InputError, match="another thread is capturing"),
        ):
            other.submit(lambda: Capture(watched, keep).__enter__()).result()
        with Capture(watched, keep) as seen:
            model(x)
    assert len(seen.calls) == 1
    assert state(model) == before


def test_going_by_strides_is_noticed(x: Tensor) -> None:
    class Strided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_strided(x, (len(x), 2), (2, 1)).relu()

    for model, expected in ((Strided(), True), (nn.ReLU(), False)):
        with Capture(model, keep) as seen:
            model(x)
        assert seen.by_strides == expected
