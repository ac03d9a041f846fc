"""The dry run: what would be scored, without weights."""

import json
import time
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from torch import Tensor, nn

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main
from hf_affscore.errors import InputError, ModelError, NoActivationError
from hf_affscore.models.evaluation import DEFAULT_BATCH_SIZE


def test_it_lists_what_analyze_scores() -> None:
    found = ha.inspect(DEMO_MODEL)
    signature = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=8)
    keys = ("index", "module", "activation", "call", "kind", "dim")
    assert [[row[key] for key in keys] for row in found.rows] == [
        [row[key] for key in keys] for row in signature.rows
    ]
    assert found.device == "meta"


def test_weights_are_not_needed(tmp_path: Path) -> None:
    transformers.ViTConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    start = time.perf_counter()
    found = ha.inspect(tmp_path)
    assert time.perf_counter() - start < 5
    assert [row.dim for row in found.rows] == [197, 197]
    assert [row["shape"] for row in found.rows] == ["197 x 3072"] * 2
    assert found.rows[0].module == "vit.layers.0.mlp.activation_fn"
    assert {row.reason for row in found.skipped} == {"attention is left out, as in the paper"}
    assert found.cost.rows_bytes == 2 * 4 * 2048 * 2 * 197


@pytest.mark.parametrize(
    ("config", "device"),
    [
        ("CLIPConfig", "meta"),
        ("DepthAnythingConfig", "meta"),
        ("SegformerConfig", "meta"),
        ("DetrConfig", "cpu"),
    ],
)
def test_configurations_of_other_tasks(config: str, device: str) -> None:
    found = ha.inspect(getattr(transformers, config)())
    assert found.rows
    assert found.device == device


def test_a_module_is_run_where_it_is_and_given_back() -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet18").train()
    model.layer1.eval()
    flags = [part.training for part in model.modules()]
    found = ha.inspect(model)
    assert [part.training for part in model.modules()] == flags
    assert (len(found.rows), found.device, found.rows[-1].dim) == (17, "meta", 512)
    # He et al. give 1.8 G multiply-adds for this network.
    assert found.cost.flops_per_image == pytest.approx(2 * 1.8e9, rel=0.03)
    assert found.cost.weights_bytes == 4 * 11_689_512
    assert found.cost.pass_bytes == 4 * 4 * DEFAULT_BATCH_SIZE * 64 * 112 * 112


class Sizes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x.view(len(x), 10))
        return x.reshape(-1, 5).flip(0).tanh()  # rows that are no image's


def test_inputs_of_another_size_and_pooling() -> None:
    with pytest.raises(ModelError, match=r"Sizes failed on pixel_values \(2, 3, 224, 224\): .* Pass inputs="):
        ha.inspect(Sizes())
    for inputs in (torch.ones(7, 2, 5), {"pixel_values": torch.ones(7, 2, 5)}):
        found = ha.inspect(Sizes(), inputs=inputs)
        assert [(row.activation, row.dim) for row in found.rows] == [("relu", 10)]
        assert "no row per image" in found.skipped[0].reason
    table = found.to_dataframe()
    assert list(table["activation"]) == ["relu", "tanh"]
    model = timm.create_model("resnet18")
    assert ha.inspect(model, inputs=torch.ones(1, 3, 32, 32), pooling="none").rows[-1].dim == 512


def test_include_changes_the_list() -> None:
    more = ha.inspect(transformers.ViTConfig(num_hidden_layers=1), include=["LayerNorm"])
    assert [row.activation for row in more.rows] == ["LayerNorm", "LayerNorm", "GELUActivation", "LayerNorm"]
    with pytest.raises(InputError, match="match no activation"):
        ha.inspect(transformers.ViTConfig(num_hidden_layers=1), include=["LayrNorm"])


@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        (3, InputError, "model is a int; expected a Hub id"),
        (nn.Conv2d(3, 3, 1), NoActivationError, "Conv2d ran without any activation. Looked for torch.nn"),
        (transformers.BertConfig(), ModelError, "needs input_ids"),
    ],
)
def test_what_cannot_be_inspected(model: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ha.inspect(model)
    with pytest.raises(InputError, match="expected a batch of pixels"):
        ha.inspect(nn.ReLU(), inputs={"pixel_values": 3})


class Masked(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return torch.relu(image) if mask is None else torch.relu(image * mask).sigmoid()


def test_inputs_of_a_module_go_by_its_own_names() -> None:
    image = torch.zeros(2, 3, 8, 8)
    for inputs in (image, {"image": image}, {"pixel_values": image}):
        assert [row.activation for row in ha.inspect(Masked(), inputs=inputs).rows] == ["relu"]
    for name in ("image", "pixel_values"):
        inspection = ha.inspect(Masked(), inputs={name: image, "mask": image})
        assert [row.activation for row in inspection.rows] == ["relu", "sigmoid"]
    with pytest.raises(ModelError, match="unexpected keyword argument 'nope'"):
        ha.inspect(Masked(), inputs={"nope": image})
    for bad in ({3: image}, torch.zeros(0, 3, 8, 8), {}):
        with pytest.raises(InputError, match="expected a batch of pixels"):
            ha.inspect(Masked(), inputs=bad)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "resnet", "hidden_act": "nope"},
        {"model_type": "vit", "patch_size": 0},
        {"model_type": "vit", "image_size": -5, "num_hidden_layers": 1},
        {"model_type": "vit", "image_size": "big"},
        None,
    ],
    ids=str,
)
def test_a_configuration_that_builds_nothing_is_a_sentence(config: object, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"does not build|could not be read|takes images of|does not know"):
        ha.inspect(tmp_path)


def test_random_numbers_are_left_as_they_were() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    for model in (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), transformers.ResNetConfig()):
        torch.manual_seed(0)
        ha.inspect(model)
        assert torch.equal(torch.rand(3), expected)


def test_whatever_a_model_raises_is_a_sentence() -> None:
    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> float:
            return 1 / 0

    with pytest.raises(ModelError, match=r"Failing failed on .*: ZeroDivisionError: division by zero"):
        ha.inspect(Failing())
    with pytest.raises(InputError, match="with values where the model has weights"):
        ha.inspect(nn.Sequential(nn.Conv2d(3, 4, 3)), inputs=torch.zeros(2, 3, 8, 8, device="meta"))


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def run(*more: str) -> str:
        with pytest.raises(SystemExit) as done:
            main(["inspect", str(DEMO_MODEL), "--num-samples", "100", *more])
        assert done.value.code == 0
        return capsys.readouterr().out

    assert "19 activations, 0 not scored. 100 images: about" in run()
    document = json.loads(run("--json", "--exclude", "resnet.encoder.*"))
    assert len(document["rows"]) == 1
    assert len(document["skipped"]) == 18
    assert document["cost"]["num_samples"] == 100
