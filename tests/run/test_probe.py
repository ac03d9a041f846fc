"""Models that draw, that let images influence each other, or whose axes only look like the batch, are found out."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning
from hf_affscore.score import score_layer


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.function = function
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.function(self.conv(x)).relu()


def images(count: int = 24) -> list[Tensor]:
    return list(torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def analysed(
    function: Callable[[Tensor], Tensor], count: int = 24, **options: Any
) -> tuple[ha.Signature, list[str]]:
    torch.manual_seed(0)
    model = Calls(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        signature = ha.analyze(model, images(count), num_samples=count, progress=False, **options)
    return signature, [str(w.message) for w in caught if w.category is AffscoreWarning]


def rarely(x: Tensor) -> Tensor:
    return x + 1 if torch.rand(()) < 0.4 else x


VARYING: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout left on": lambda x: F.dropout(x, 0.3, training=True),
    "noise": lambda x: x + 1e-6 * torch.randn_like(x),
    "noise of numpy": lambda x: x + float(np.random.normal()),
    "noise of Python": lambda x: x + random.random(),
    "sometimes": rarely,
}
DEPENDENT: dict[str, Callable[[Tensor], Tensor]] = {
    "batch normalisation": lambda x: F.batch_norm(x, None, None, training=True),
    "mean of the batch": lambda x: x - x.mean(dim=0),
    "attention between images": lambda x: x + x.flatten(1).softmax(0).sum(1).view(-1, 1, 1, 1) * x.amax(),
}


@pytest.mark.parametrize("kind", VARYING)
def test_two_answers_to_one_batch_are_said_and_recorded(kind: str) -> None:
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    before = random.getstate(), np.random.get_state()[1].tobytes()
    signature, said = analysed(VARYING[kind])
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before
    assert signature.metadata["model"]["deterministic"] is False
    assert any("different outputs for the same batch" in message for message in said)


@pytest.mark.parametrize("kind", DEPENDENT)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_images_that_influence_each_other_are_said_and_recorded(kind: str, batch_size: int | None) -> None:
    signature, said = analysed(DEPENDENT[kind], batch_size=batch_size)
    model = signature.metadata["model"]
    assert model["deterministic"] is True
    assert model["batch_dependent"] is True
    assert model["batch_size"] == (batch_size or 8)
    assert any(f"batches of {batch_size or 8} images" in message for message in said)


def test_batches_are_run_whole() -> None:
    """The rows are those of the batches that were asked for: none is split."""
    torch.manual_seed(0)
    model = Calls(DEPENDENT["mean of the batch"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = ha.analyze(model, images(), num_samples=24, batch_size=12, shuffle=False, progress=False)
    assert model.sizes == []  # its own list is as it was
    x = model.conv(torch.stack(images()))
    pre = torch.cat([DEPENDENT["mean of the batch"](half) for half in x.split(12)])
    rows = [side.mean((2, 3)).detach().numpy() for side in (pre, pre.relu())]
    expected = score_layer(*rows, shrinkage=False, regularization=1e-6)["affinity_score"]
    assert signature.rows[0].affinity_score == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 24])
@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_an_ordinary_model_is_neither(count: int, batch_size: int | None) -> None:
    signature, said = analysed(lambda x: x, count, batch_size=batch_size)
    assert signature.metadata["model"]["deterministic"] is True
    assert signature.metadata["model"]["batch_dependent"] is False
    assert not [message for message in said if "batch" in message]


def test_a_model_for_one_size_of_batch_runs() -> None:
    signature, _ = analysed(lambda x: x.view(8, 6, 36).flatten(2), batch_size=8)
    assert len(signature.rows) == 1
    assert signature.metadata["model"]["batch_dependent"] is True


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_first_axis_as_long_as_the_batch_by_chance_is_no_batch(size: int) -> None:
    table = torch.randn(size, 5)
    signature, _ = analysed(lambda x: table.tanh().mean() + x, batch_size=size)
    assert [row.activation for row in signature.rows] == ["relu"]
    assert [(row.activation, "no row per image" in row.reason) for row in signature.skipped] == [
        ("tanh", True)
    ]


def test_what_is_not_reproducible_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=2)
    ResNetForImageClassification(config).save_pretrained(tmp_path / "model")
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    genuine = F.relu
    monkeypatch.setattr(F, "relu", lambda x, inplace=False: genuine(x) + torch.rand(()))

    def kept() -> bool:
        from hf_affscore.run.cache import cache_entries

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ha.analyze(str(tmp_path / "model"), str(folder), num_samples=8, progress=False, processor=None)
        return any(entry.finished for entry in cache_entries())

    assert not kept()
    monkeypatch.setattr(F, "relu", genuine)
    assert kept()
