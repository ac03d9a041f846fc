"""Models inside something else: compiled, scripted, parallel, PEFT, offloaded, transformed by torch.fx."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture
from hf_affscore.errors import ModelError


def keep(tensor: Tensor, site: CallSite) -> Tensor:
    return tensor.clone()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.act = nn.GELU()
        self.second = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.act(self.first(x))))


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def names(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the calls; checks on the way that watching changes nothing."""
    bare = model(x)
    with Capture(model, keep) as seen:
        watched = model(x)
    assert torch.equal(bare, watched)
    assert torch.equal(model(x), bare)
    return [str(call.site) for call in seen.calls]


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_a_compiled_model_runs_uncompiled_while_watched(how: str, small: Small, x: Tensor) -> None:
    runs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        return lambda *args: runs.append(len(runs)) or graph(*args)

    if how == "wrapped":
        model, prefix = torch.compile(small, backend=backend), "_orig_mod."
    else:
        small.compile(backend=backend)
        model, prefix = small, ""
    root = prefix.rstrip(".") or "(model)"
    assert names(model, x) == [f"{prefix}act GELU#0", f"{root} relu#0"]
    assert len(runs) == 2  # before and after, not while watched


def test_captures_in_two_threads_that_overlap_leave_the_compiler_on(small: Small, x: Tensor) -> None:
    runs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        return lambda *args: runs.append(len(runs)) or graph(*args)

    model = torch.compile(small, backend=backend)
    first, second = Capture(small, keep), Capture(small, keep)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.__enter__).result()
        other.submit(second.__enter__).result()
        one.submit(first.__exit__, None, None, None).result()
        model(x)
        assert len(runs) == 0  # the second still watches
        other.submit(second.__exit__, None, None, None).result()
    model(x)
    assert len(runs) == 1


def test_traced_models_are_refused(small: Small, x: Tensor) -> None:
    traced = torch.jit.trace(small, x)
    with pytest.raises(ModelError, match=r"\(model\) \(TopLevelTracedModule\) is a TorchScript module"):
        names(traced, x)


def test_a_model_in_several_threads_is_refused(small: Small, x: Tensor) -> None:
    model = nn.DataParallel(small)
    model.device_ids = [0, 1]
    with (
        pytest.raises(ModelError, match=r"copies in 2 threads at once\. Pass the model inside it"),
        Capture(model, keep),
    ):
        pass


def test_a_graph_module_and_an_exported_program(small: Small, x: Tensor) -> None:
    assert names(torch.fx.symbolic_trace(small), x) == ["act GELU#0", "(model) relu#0"]
    exported = torch.export.export(small, (x,)).module()
    assert [name.rpartition(" ")[2] for name in names(exported, x)] == ["gelu#0", "relu#0"]


def test_peft_wrapped(small: Small, x: Tensor) -> None:
    import peft

    model = peft.get_peft_model(small, peft.LoraConfig(target_modules=["first", "second"])).eval()
    assert names(model, x) == ["base_model.model.act GELU#0", "base_model.model relu#0"]


def test_weights_offloaded_by_accelerate(small: Small, x: Tensor, tmp_path: Path) -> None:
    from accelerate import dispatch_model

    expected = small(x)
    model = dispatch_model(
        small, {"first": "disk", "act": "cpu", "second": "cpu"}, main_device="cpu", offload_dir=tmp_path
    )
    assert names(model, x) == ["act GELU#0", "(model) relu#0"]
    assert torch.equal(model(x), expected)


def test_hooks_of_others_run_outside(small: Small, x: Tensor) -> None:
    small.act.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    small.act.register_forward_hook(lambda module, args, output: output * 2)
    with Capture(small, keep) as seen:
        small(x)
    assert torch.equal(seen.calls[0].post, F.gelu(seen.calls[0].pre))
    assert torch.equal(seen.calls[0].pre, small.first(x) + 1)


def test_the_fused_transformer_layer_is_unfused_and_agrees_to_rounding() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.inference_mode():
        bare = model(x)
        with Capture(model, keep) as seen:
            watched = model(x)
    assert [str(call.site) for call in seen.calls] == ["(model) relu#0"]
    torch.testing.assert_close(bare, watched, rtol=1e-5, atol=1e-6)
