"""Blocks judged as a whole: numbers known by hand, equal bits on two processes, and what blocks cannot be asked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main
from hf_affscore.errors import InputError, NoActivationError
from hf_affscore.options import Options
from hf_affscore.publish import update_local_card
from hf_affscore.run.cache import cache_entries
from hf_affscore.score.held_out import r2_heldout
from hf_affscore.signature import Signature
from tests.processes import run_script

FEW = {"num_samples": 48, "batch_size": 16, "progress": False}


class Block(nn.Module):
    """A residual block, whose branch is given; it writes into its input."""

    def __init__(self, branch: Callable[[Tensor], Tensor], width: int = 4) -> None:
        super().__init__()
        self.weights = nn.ModuleList(
            [nn.Linear(width, width), nn.Linear(width, width)]
        )  # what makes it a block
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(self.branch(x))


class Narrower(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x)


class Network(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> Tensor:
        x = images.mean(dim=3).flatten(1)[:, :4]
        for block in self.blocks:
            x = block(x)
        return x


def vectors(count: int = 200) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(count, 3, 4, 4, generator=generator))


def judged(*blocks: nn.Module) -> Signature:
    return ha.analyze(Network(*blocks), vectors(), level="blocks", num_samples=200, progress=False)


def test_a_linear_block_by_hand() -> None:
    """x + 2x: the update is 2x, of cosine 1 and twice the norm; x - x / 2 has cosine -1."""
    first, second = judged(Block(lambda x: 2 * x), Block(lambda x: -0.5 * x)).rows
    for row, cosine, norm in ((first, 1, 2), (second, -1, 0.5)):
        assert row.r2_heldout == pytest.approx(1, abs=1e-6)  # the ridge
        assert row.r2_heldout_update == pytest.approx(1, abs=1e-6)
        assert row.update_cosine == pytest.approx(cosine, abs=1e-6)  # float32 of the network
        assert row.update_norm == pytest.approx(norm, abs=1e-6)
        assert (row.part, row.activation, row.dim, row.dim_out, row.num_samples) == (
            "block",
            "Block",
            4,
            4,
            200,
        )
        assert row.reason is None


def test_the_residual_stream_hides_a_small_update_that_no_map_predicts() -> None:
    first, second = judged(Block(lambda x: 0.05 * torch.sin(9 * x)), Block(lambda x: x.abs() - x)).rows
    assert first.r2_heldout > 0.99
    assert first.r2_heldout_update < 0.1
    assert first.update_norm < 0.1
    assert second.r2_heldout < 0.1  # |x| of symmetric x


def test_a_block_that_does_nothing() -> None:
    for row in judged(Block(torch.zeros_like), Block(torch.zeros_like)).rows:
        assert row.r2_heldout == pytest.approx(1, abs=1e-6)
        assert row.update_norm == 0
        assert math.isnan(row.r2_heldout_update)
        assert math.isnan(row.update_cosine)
        assert row.reason == "it adds nothing to its input"


def test_cosine_and_norm_are_those_of_whole_tensors() -> None:
    """Independently, from the tensors of every image of a network whose positions differ."""
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, num_heads=2, depth=2
    )
    pictures = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    sig = ha.analyze(network, list(pictures), level="blocks", num_samples=40, shuffle=False, progress=False)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            seen[path] = args[0].flatten(1).double(), output.flatten(1).double()

        return hook

    for row in sig.rows:
        network.get_submodule(row.module).register_forward_hook(note(row.module))
    with torch.no_grad():
        network.eval()(pictures)
    assert [row.part for row in sig.rows] == ["block", "attention", "mlp"] * 2  # a block before its parts
    for row in sig.rows:
        x, y = seen[row.module]
        if row.part == "block":
            update = y - x
        else:
            x, update = seen[row.module.rpartition(".")[0]][0], y
            assert math.isnan(row.r2_heldout)
            assert row.reason == "the residual stream runs around it"
        cosine = torch.cosine_similarity(x, update).mean()
        norm = (update.square().sum() / x.square().sum()).sqrt()
        assert row.update_cosine == pytest.approx(float(cosine), abs=1e-5)  # float32, other batches
        assert row.update_norm == pytest.approx(float(norm), rel=1e-5)
        assert (row.dim, row.dim_out) == (24, 24)  # channels, although tokens come first


class Tokens(nn.Module):
    """Encoder layers of torch, whose MLP has no module of its own, on the columns of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(12, 2, 48, batch_first=True) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1, 2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


def test_an_mlp_in_two_modules_is_judged_without_the_stream_that_is_added_behind_it() -> None:
    torch.manual_seed(0)
    network, pictures = Tokens().eval(), vectors(60)
    sig = ha.analyze(network, pictures, level="blocks", num_samples=60, shuffle=False, progress=False)
    assert [(row.module, row.part) for row in sig.rows[3:]] == [
        ("layers.1", "block"),
        ("layers.1.self_attn", "attention"),
        ("layers.1.linear1", "mlp"),
    ]
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name in ("", "linear1", "linear2"):
        network.get_submodule(f"layers.1.{name}".rstrip(".")).register_forward_hook(
            lambda _, args, output, name=name: seen.update({name: (args[0], output)})
        )
    network(torch.stack(pictures))  # with gradients, so that torch runs no fused kernel
    x, inner, update = (side.detach() for side in (seen[""][0], seen["linear1"][0], seen["linear2"][1]))
    row = sig.rows[5]
    norm = (update.square().sum() / x.square().sum()).sqrt()
    assert row.update_norm == pytest.approx(float(norm), rel=1e-5)
    assert row.r2_heldout_update == pytest.approx(r2_heldout(inner.mean(1), update.mean(1)), abs=1e-5)
    assert math.isnan(row.r2_heldout)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_layers_of_a_densenet_receive_all_earlier_maps(library: str) -> None:
    torch.manual_seed(0)
    small = {"growth_rate": 8, "block_config": (2, 3)}
    if library == "timm":
        network = timm.models.densenet.DenseNet(**small).eval()
    else:
        network = torchvision.models.DenseNet(num_init_features=16, **small).eval()
    pictures = [torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(n)) for n in range(40)]
    sig = ha.analyze(network, pictures, level="blocks", num_samples=40, shuffle=False, progress=False)
    assert [(row.dim, row.dim_out) for row in sig.rows] == [(16, 8), (24, 8), (16, 8), (24, 8), (32, 8)]
    assert sig.skipped == ()
    last, seen = sig.rows[-1], []
    network.get_submodule(last.module).register_forward_hook(
        lambda _, args, output: seen.extend([torch.cat(args[0], 1), output])
    )
    with torch.no_grad():
        network(torch.stack(pictures))
    before, new = (side.mean((2, 3)) for side in seen)
    assert last.r2_heldout == pytest.approx(r2_heldout(before, new), abs=1e-5)
    assert last.reason == "input and output have different shapes"


def test_where_the_shape_changes_there_is_no_update() -> None:
    first, second = judged(Narrower(lambda x: x[:, :3] @ torch.ones(3, 4)), Narrower(lambda x: x[:, :2])).rows
    assert (second.dim, second.dim_out) == (4, 2)
    assert second.r2_heldout == pytest.approx(1, abs=1e-6)
    assert second.reason == "input and output have different shapes"
    numbers = (second.r2_heldout_update, second.update_cosine, second.update_norm)
    assert all(map(math.isnan, numbers))
    assert not math.isnan(first.update_norm)


def test_effective_depth_is_between_none_and_all_of_the_blocks() -> None:
    linear = judged(Block(lambda x: x), Block(lambda x: x))
    assert linear.effective_depth == pytest.approx(0, abs=1e-6)
    bent = judged(Block(lambda x: x), Block(lambda x: x.abs() - x))
    assert bent.effective_depth == pytest.approx(1, abs=0.1)  # |x| of 200 normal x
    assert bent.summary() == {"blocks": 2, "effective_depth": bent.effective_depth}


@pytest.fixture(scope="module")
def sig() -> Signature:
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, level="blocks", cache=False, **FEW)


def test_the_blocks_of_the_demo(sig: Signature) -> None:
    assert len(sig.rows) == 9
    assert {row.part for row in sig.rows} == {"block"}
    assert sig.metadata["options"]["level"] == "blocks"
    assert sig.metadata["options"]["pooling"] == "channels"
    assert sig.skipped == ()
    found = ha.inspect(DEMO_MODEL, level="blocks")
    assert [(row.module, row.part, row.dim, row.dim_out) for row in found.rows] == [
        (row.module, row.part, row.dim, row.dim_out) for row in sig.rows
    ]


def test_saved_and_loaded(sig: Signature, tmp_path: Path) -> None:
    assert Signature.from_pretrained(sig.save_pretrained(tmp_path)) == sig
    assert json.loads((tmp_path / "signature.json").read_text())["summary"]["blocks"] == 9
    assert "affinity_score" not in sig.to_dataframe()


def test_tables_and_pictures(sig: Signature, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sig.save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["show", str(tmp_path), "--plot", str(tmp_path / "blocks.svg")])
    printed = capsys.readouterr().out
    assert f"effective depth {sig.effective_depth:.2f} of 9 blocks" in printed
    assert "8 -> 16" in printed
    assert (tmp_path / "blocks.svg").stat().st_size > 0
    assert "<table>" in sig._repr_html_()
    assert "9 blocks" in repr(sig)
    with pytest.raises(SystemExit, match="0"):
        main(["inspect", str(DEMO_MODEL), "--level", "blocks"])
    assert "9 blocks and parts, 0 not scored" in capsys.readouterr().out


ASKED_OF_BLOCKS: dict[str, Callable[[Signature, Path], object]] = {
    "scores": lambda sig, _: sig.scores,
    "near_linear": lambda sig, _: sig.near_linear(),
    "reference": lambda sig, _: sig.plot(reference=True),
    "A comparison": lambda sig, _: ha.compare([sig, sig]),
    "A collection": lambda sig, _: sig.push_to_hub("user/signatures"),
    "A model card": lambda sig, path: update_local_card(sig, path / "README.md"),
}


@pytest.mark.parametrize("what", ASKED_OF_BLOCKS)
def test_what_needs_scores_says_so(sig: Signature, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{what} needs affinity scores, and this is a signature of blocks"):
        ASKED_OF_BLOCKS[what](sig, tmp_path)


def test_options_that_do_not_go_together() -> None:
    for others in ({"num_samples": "all"}, {"num_groups": 2}):
        with pytest.raises(InputError, match="level is 'blocks'; expected 'activations' beside"):
            Options(level="blocks", **others)
    with pytest.raises(InputError, match="reuse is 'user/sigs'; expected None beside level='blocks'"):
        Options(level="blocks", reuse="user/sigs")
    with pytest.raises(
        InputError, match=r"level is 'block'; expected one of activations, blocks\. Did you mean"
    ):
        Options(level="block")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="level is 'blocks', which cannot apply: a training"):
        ha.track(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), vectors(8), num_samples=8, level="blocks")


def test_earlier_caches_stay_valid_and_levels_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "level" not in Options().recorded()
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path))
    for level in ("activations", "blocks", "blocks"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, level=level, **FEW)
    assert sorted(entry.asked["options"].get("level", "") for entry in cache_entries()) == ["", "blocks"]


def test_an_activation_is_no_block(tmp_path: Path) -> None:
    activations = ha.analyze(DEMO_MODEL, DEMO_DATASET, include=["*.stages.2.*"], cache=False, **FEW)
    with pytest.raises(
        InputError, match="effective_depth is of blocks, and this is a signature of activations"
    ):
        _ = activations.effective_depth


def test_a_network_without_blocks_and_modules_by_name() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 8))
    with pytest.raises(NoActivationError, match="No repeated blocks were found in Sequential: name modules"):
        ha.analyze(plain, vectors(), level="blocks", num_samples=20, progress=False)
    sig = ha.analyze(plain, vectors(), level="blocks", include=["3"], num_samples=40, progress=False)
    assert [(row.module, row.part) for row in sig.rows] == [("3", "block")]
    left = ha.analyze(
        Network(Block(lambda x: x), Block(lambda x: x)),
        vectors(),
        level="blocks",
        exclude=["blocks.0"],
        num_samples=20,
        progress=False,
    )
    assert [row.module for row in left.rows] == ["blocks.1"]
    assert [row.reason for row in left.skipped] == ["excluded by 'blocks.0'"]


def test_rows_are_kept_and_a_run_goes_on(
    sig: Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hf_affscore.run.columns.score_block", None)
    with pytest.raises(TypeError):  # after the batches are stored
        ha.analyze(DEMO_MODEL, DEMO_DATASET, level="blocks", **FEW)
    monkeypatch.undo()
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    again = ha.analyze(DEMO_MODEL, DEMO_DATASET, level="blocks", keep_rows=tmp_path / "rows", **FEW)
    assert again.rows == sig.rows
    rows = ha.load_rows(tmp_path / "rows")
    assert rows[sig.rows[3].module].post.shape == (48, sig.rows[3].dim_out)
    with pytest.raises(InputError, match="rescore needs affinity scores"):
        rows.rescore()


PROCESSES = """
import sys
import hf_affscore as ha
from hf_affscore.run.processes import Processes

sig = ha.analyze(sys.argv[1], sys.argv[2], level="blocks", num_samples=40, batch_size=8, cache=False)
if Processes.current().is_main:
    sig.save_pretrained(sys.argv[3])
Processes.current().disconnect()
"""


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    script = tmp_path / "blocks.py"
    script.write_text(PROCESSES)
    for name, processes in (("one", 1), ("two", 2)):
        done = run_script(script, DEMO_MODEL, DEMO_DATASET, tmp_path / name, processes=processes)
        assert done.returncode == 0, done.stderr
    one, two = (Signature.from_pretrained(tmp_path / name) for name in ("one", "two"))
    assert one.rows == two.rows
    assert np.isfinite([row.r2_heldout for row in one.rows]).all()
