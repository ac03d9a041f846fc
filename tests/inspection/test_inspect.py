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
from hf_affscore.inspection import operations
from hf_affscore.inspection.cost import HEAP_FACTOR, Cost, estimate
from hf_affscore.inspection.inputs import num_images
from hf_affscore.models.evaluation import DEFAULT_BATCH_SIZE
from hf_affscore.options import Options
from hf_affscore.score import transport
from tests.versions import is_older


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
    assert found.rows[0].module.startswith("vit.")
    assert {row.reason for row in found.skipped} == {"attention is left out, as in the paper"}
    assert found.cost.rows_bytes == 2 * 4 * 2048 * 2 * 197


@pytest.mark.parametrize(
    ("config", "device"),
    [
        ("CLIPConfig", "meta"),
        ("DepthAnythingConfig", "meta"),
        ("SegformerConfig", "meta"),
        ("DetrConfig", "meta" if is_older("transformers", "5") else "cpu"),  # one parameter is made there
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
    held = 4 * DEFAULT_BATCH_SIZE * 64 * 112 * 112
    assert 2 * held < found.cost.pass_bytes / HEAP_FACTOR < 2.5 * held  # what the first ReLU reads and writes


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
        (
            nn.Conv2d(3, 3, 1),
            NoActivationError,
            "^No activation was found in Conv2d: name what",
        ),
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

    printed = run()
    assert "(ResNetForImageClassification), pooling 'paper'" in printed
    assert "19 activations, 0 not scored\n\nexpected on a CPU for 100 images" in printed
    sums = [line.split(" = ") for line in printed.splitlines() if " = " in line]
    assert [total.split()[0] for total, _ in sums] == ["loading", "forward", "scoring", "time"]
    for total, parts in sums:
        stated = float(total.split()[1])
        assert stated == pytest.approx(sum(float(part.split()[0]) for part in parts.split(" + ")), abs=1e-9)
    assert printed == f"{ha.inspect(DEMO_MODEL, num_samples=100)}\n"
    document = json.loads(run("--json", "--exclude", "resnet.encoder.*"))
    assert len(document["rows"]) == 1
    assert len(document["skipped"]) == 18
    assert document["cost"]["num_samples"] == 100


class Tokens(nn.Module):
    """A parameter enters a module, as class tokens do."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 8))
        self.layer = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.token) + self.layer(x.flatten(1)[:, :8])


@pytest.mark.parametrize("model", [Tokens, "cait_xxs24_224", "pit_ti_224"], ids=str)
def test_parameters_may_enter_modules(model: object) -> None:
    with torch.device("meta"):
        built = timm.create_model(model) if isinstance(model, str) else model()  # type: ignore[operator]
    found = ha.inspect(built, inputs=torch.zeros(3, 3, 224, 224))
    assert found.rows
    assert found.cost.flops_per_image is not None
    assert found.cost.flops_per_image > 0
    assert found.cost.forward_seconds is not None


class Alone(nn.Module):
    """Runs only where nobody listens to what PyTorch dispatches."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._len_torch_dispatch_stack():
            raise RuntimeError("somebody listens")
        return F.relu(x)


def test_a_failure_of_counting_does_not_cost_the_inspection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a formula met arguments it was not made for")

    found = [ha.inspect(Alone())]
    monkeypatch.setattr(operations, "_flops", fails)
    found.append(ha.inspect(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())))
    for each in found:
        assert len(each.rows) == 1
        assert each.cost.flops_per_image is each.cost.forward_seconds is each.cost.seconds is None
        assert "time unknown" in repr(each)
        assert json.loads(json.dumps(each.to_dict(), allow_nan=False))["cost"]["seconds"] is None


def test_the_operator_that_could_not_be_counted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a formula met arguments it was not made for")

    monkeypatch.setattr(operations, "_flops", fails)
    with torch.no_grad(), operations.Operations() as counted:
        assert torch.equal(torch.ones(2, 3) @ torch.ones(3, 2), torch.full((2, 2), 3.0))
    assert counted.problem is not None
    assert counted.problem.endswith("ValueError: a formula met arguments it was not made for")


def test_the_memory_of_many_samples_is_that_of_their_distances_without_pot(monkeypatch) -> None:
    """Of 50,000 samples two matrices of distances in float64 alone take 40 GB, one in float32 10 GB."""
    asked = Options(num_samples=50_000)

    def stated() -> Cost:
        return estimate(asked, widths=[197] * 24, weights_bytes=10**9, input_bytes=600_000, work=None)

    by_price = stated()
    assert by_price.parts_by_phase["scoring"]["scoring"] < 6e9  # of two layers at a time
    monkeypatch.setattr(transport, "couples_chosen_pairs", lambda: False)
    assert stated().memory_bytes > 50_000**2 * 4
    assert stated().parts_by_phase["scoring"]["scoring"] > 50_000**2 * 4
    assert stated().score_seconds_at_most > 2 * by_price.score_seconds_at_most


class Hostile(nn.Module):
    """A model of transformers by its looks, of which one attribute raises."""

    main_input_name = "pixel_values"

    def __init__(self, attribute: str) -> None:
        super().__init__()
        self._attribute = attribute
        self.config = type("Config", (), {"image_size": {"height": "tall"}, "num_channels": "three"})()

    def parameters(self, recurse: bool = True):  # type: ignore[no-untyped-def]
        if self._attribute == "parameters":
            raise RuntimeError("no parameters today")
        return super().parameters(recurse)

    def forward(self, input_ids: Tensor) -> Tensor:
        return input_ids.relu()

    def named_children(self):  # type: ignore[no-untyped-def]
        if self._attribute == "named_children":
            raise TypeError("no children either")
        return super().named_children()


@pytest.mark.parametrize("attribute", ["parameters", "named_children", "image_size"])
def test_whatever_is_raised_around_the_pass_is_a_sentence(attribute: str) -> None:
    given = None if attribute == "image_size" else torch.zeros(2, 3, 8, 8)
    with pytest.raises(ModelError, match=r"cannot be inspected|cannot be read|takes images of") as raised:
        ha.inspect(Hostile(attribute), inputs=given)
    assert str(raised.value).endswith(".")
    lazy = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    with pytest.raises(ModelError, match="LazyLinear") as raised:
        ha.inspect(lazy, inputs=torch.zeros(2, 8))
    assert "\n" not in str(raised.value)


def test_the_processor_is_asked_where_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the folder, from wherever; its size wins over that of the configuration."""
    transformers.ResNetConfig(depths=[1], hidden_sizes=[8], num_channels=3).save_pretrained(tmp_path / "a")
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1).save_pretrained(
        tmp_path / "a"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("a", Path("a"), tmp_path / "a"):
        assert ha.inspect(name).rows[0].shape == "64 x 32 x 32"


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mobilenetv3_small_050", "convnext_atto"])
def test_rows_and_reasons_are_those_of_analyze(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name)
    include = ["LayerNorm"] if name.startswith("vit") else []
    found = ha.inspect(model, include=include)
    signature = ha.analyze(model, "noise", num_samples=10, include=include, cache=False, progress=False)
    keys = ("index", "module", "activation", "call", "kind", "dim")
    assert [[r[key] for key in keys] for r in found.rows] == [
        [r[key] for key in keys] for r in signature.rows
    ]
    assert list(map(dict, found.skipped)) == list(map(dict, signature.skipped))


@ha.register_activation
def widened(x: Tensor) -> Tensor:
    return torch.cat([x, x], 1)


class Widened(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return widened(F.relu(x.flatten(1)[:, :6]))


def test_a_call_that_changes_the_width_is_listed_and_has_a_row() -> None:
    found = ha.inspect(Widened())
    images = list(torch.randn(10, 3, 224, 224))
    signature = ha.analyze(Widened(), images, num_samples=10, cache=False, progress=False)
    assert [row.activation for row in found.rows] == [row.activation for row in signature.rows]
    assert [row.dim for row in found.rows] == [row.dim for row in signature.rows]
    assert "undefined" in [row.evidence for row in signature.rows]
    assert len(found.skipped) == len(signature.skipped) == 0


def test_a_language_model_is_refused_in_one_sentence_everywhere(tmp_path: Path) -> None:
    transformers.BertConfig(num_hidden_layers=1, vocab_size=50, architectures=["BertModel"]).save_pretrained(
        tmp_path
    )
    said = []
    for run in (
        lambda: ha.inspect(tmp_path),
        lambda: ha.analyze(tmp_path, "noise", num_samples=4, cache=False),  # before weights are looked for
        lambda: ha.analyze(tmp_path, "noise", num_samples=4, cache=False, random_weights=True),
    ):
        with pytest.raises(ModelError, match="needs input_ids, as a language model does") as raised:
            run()
        said.append(str(raised.value))
    assert len(set(said)) == 1


def test_patches_of_several_images_in_one_input() -> None:
    class Packed(nn.Module):
        def forward(self, patches: Tensor, grid: Tensor) -> Tensor:
            return F.relu(patches.reshape(len(grid), -1, 4).mean(1))

    batch = {"patches": torch.zeros(12, 4), "grid": torch.ones(3, 2)}
    assert ha.inspect(Packed(), inputs=batch).rows[0].dim == 4
    assert num_images(batch) == 3
