"""More and less than the default: include, exclude, register, gates."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, Selection, activations, register_activation
from hf_affscore.errors import AffscoreWarning, InputError


def keep(tensor: Tensor, site: CallSite) -> Tensor:
    return tensor.clone()


def run(model: nn.Module, x: Tensor, **patterns: list[str]) -> tuple[list[str], dict[str, str]]:
    selection = Selection(**patterns)
    with Capture(model, keep, selection) as seen:
        model(x)
    selection.check_all_matched()
    return [str(call.site) for call in seen.calls], {str(s.site): s.reason for s in seen.skipped}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.attn = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1), nn.ReLU())
        self.mlp = nn.Sequential(nn.Linear(4, 4), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x + self.attn(self.norm(x)))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block())


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_by_default_activations_outside_attention(model: nn.Module, x: Tensor) -> None:
    kept, skipped = run(model, x)
    assert kept == ["0.mlp.1 GELU#0", "1.mlp.1 GELU#0"]
    assert sorted(skipped) == [
        "0.attn.1 Softmax#0",
        "0.attn.2 ReLU#0",
        "1.attn.1 Softmax#0",
        "1.attn.2 ReLU#0",
    ]


def test_include_names_classes_and_paths(model: nn.Module, x: Tensor) -> None:
    assert run(model, x, include=["LayerNorm"])[0] == [
        *("0.norm LayerNorm#0", "0.mlp.1 GELU#0"),
        *("1.norm LayerNorm#0", "1.mlp.1 GELU#0"),
    ]
    assert run(model, x, include=["0.attn.*"])[0][:3] == [
        *("0.attn.0 Linear#0", "0.attn.1 Softmax#0", "0.attn.2 ReLU#0"),
    ]
    kept, skipped = run(model, x, include=["Softmax"])
    assert "0.attn.1 Softmax#0" in kept
    assert "0.attn.2 ReLU#0" in skipped


def test_a_whole_block_is_listed_after_what_is_in_it(model: nn.Module, x: Tensor) -> None:
    with Capture(model, keep, Selection(include=["0", "(model)"])) as seen:
        output = model(x)
    assert [str(call.site) for call in seen.calls] == [
        *("0.mlp.1 GELU#0", "0 Block#0", "1.mlp.1 GELU#0", "(model) Sequential#0"),
    ]
    assert torch.equal(seen.calls[-1].pre, x)
    assert torch.equal(seen.calls[-1].post, output)
    assert torch.equal(seen.calls[1].pre, x)
    assert torch.equal(seen.calls[1].post, model[0](x))


def test_exclude_beats_include_and_says_so(model: nn.Module, x: Tensor) -> None:
    kept, skipped = run(model, x, include=["*"], exclude=["0.*", "Linear"])
    assert not [name for name in kept if name.startswith("0.") or "Linear" in name]
    assert skipped["0.mlp.1 GELU#0"] == "excluded by '0.*'"
    assert skipped["1.mlp.0 Linear#0"] == "excluded by 'Linear'"


def test_a_pattern_counts_also_where_another_decides(model: nn.Module, x: Tensor) -> None:
    assert run(model, x, include=["GE*", "GELU"], exclude=["0.mlp.*"])[0] == ["1.mlp.1 GELU#0"]
    assert run(model, x, include=["GELU"], exclude=["GELU", "GE*"])[0] == []


def test_a_pattern_that_matches_nothing_is_an_error(model: nn.Module, x: Tensor) -> None:
    with pytest.raises(InputError, match=r"include has patterns that match no .*'LayrNorm'"):
        run(model, x, include=["LayrNorm", "GELU"])
    with pytest.raises(InputError, match=r"expected a list of patterns, \['GELU'\]"):
        Selection(exclude="GELU")


@pytest.mark.parametrize("pattern", ["0", "Sequential", "0.mlp.0"])
def test_a_pattern_of_modules_that_excludes_nothing_is_said(
    model: nn.Module, x: Tensor, pattern: str
) -> None:
    with pytest.warns(
        AffscoreWarning,
        match=rf"exclude: '{pattern}' match modules, but no activation that ran.*'{pattern}\.\*'",
    ):
        assert len(run(model, x, exclude=[pattern])[0]) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, True) for name in ("attn", "self_attn", "attention", "attention_output", "attn1", "attn_2")],
        *[(name, False) for name in ("pattn", "attentive", "mlp", "attnet", "inattention")],
    ],
)
def test_what_counts_as_attention(name: str, expected: bool) -> None:
    relu = activations.Activation("ReLU", "activation")
    assert (Selection().why_skipped(relu, f"blocks.0.{name}.0") is not None) == expected


@pytest.mark.parametrize("dim", [-1, 1])
@pytest.mark.parametrize("form", ["module", "function", "keyword"])
def test_a_gated_unit_is_its_gate(form: str, dim: int) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.glu = nn.GLU(dim)

        def forward(self, x: Tensor) -> Tensor:
            if form == "module":
                return self.glu(x)
            return F.glu(x, dim) if form == "function" else F.glu(x, dim=dim)

    x = torch.randn(2, 4, 6)
    model = Model()
    with Capture(model, keep) as seen:
        output = model(x)
    (call,) = seen.calls
    value, gate = x.chunk(2, dim)
    assert torch.equal(call.pre, gate)
    torch.testing.assert_close(value * call.post, output, rtol=1e-6, atol=0)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "_registered", {})


@pytest.mark.usefixtures("registry")
def test_register_a_class_a_torch_function_and_a_function(x: Tensor) -> None:
    @register_activation
    class Swish2(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(2 * x)

    @register_activation
    def snake(x: Tensor) -> Tensor:
        return torch.sigmoid(x) + x.sin() ** 2

    assert register_activation(torch.clamp) is torch.clamp

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = Swish2()

        def forward(self, x: Tensor) -> Tensor:
            return snake(self.act(x)).clamp(min=0) + snake(x=x).clamp_(0, 1)

    model = Model()
    bare = model(x)
    with Capture(model, keep) as seen:
        watched = model(x)
    assert torch.equal(bare, watched)
    assert [str(call.site) for call in seen.calls] == [
        *("act Swish2#0", "(model) snake#0", "(model) clamp#0", "(model) snake#1", "(model) clamp#1"),
    ]
    assert seen.calls[3].pre is not x
    assert torch.equal(seen.calls[3].pre, x)
    assert register_activation(snake) is snake


@pytest.mark.parametrize("wrong", [nn.ReLU(), int, "relu", None])
def test_what_cannot_be_registered(wrong: object) -> None:
    with pytest.raises(InputError, match=r"Expected a subclass of torch\.nn\.Module or a function"):
        register_activation(wrong)
