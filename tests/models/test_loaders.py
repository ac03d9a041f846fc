"""What loads a checkpoint can be named: a library, a class, a function; other packages add libraries."""

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from torchvision.transforms import v2

import hf_affscore as ha
from hf_affscore.cli import main
from hf_affscore.errors import InputError, ModelError
from hf_affscore.models.libraries.registry import LIBRARIES
from tests.models.by_hand import check, photographs
from tests.models.networks import classifier

USUAL = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}


class Mixed(nn.Module, PyTorchModelHubMixin):
    """What somebody wrote, and saved with huggingface_hub's mixin."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 4, 3), nn.Sigmoid())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def transform(image: object) -> torch.Tensor:
    return v2.functional.pil_to_tensor(v2.functional.resize(image, [24, 24])).float() / 255


def load_with_transform(place: str, revision: str | None = None) -> tuple[nn.Module, object]:
    return Mixed.from_pretrained(place, revision=revision), transform


HERE = "tests.models.test_loaders"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Mixed(width=6).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("loader", [f"{HERE}:load_with_transform", load_with_transform])
def test_a_function_gives_a_module_and_its_processor(loader, saved: Path) -> None:
    signature = check(saved, Mixed.from_pretrained(saved), transform, loader=loader)
    model = signature.metadata["model"]
    assert model["library"] == f"{HERE}:load_with_transform"
    assert model["class"] == "Mixed"
    assert signature.metadata["options"]["loader"] == f"{HERE}:load_with_transform"


def test_a_class_of_the_hubs_mixin_at_a_commit(hub, saved: Path) -> None:
    repo = hub.add("model", "ada/mixed", saved)
    first = repo.head("main").oid
    Mixed(width=7).save_pretrained(saved)
    hub.repo("model", "ada/mixed").commit("main", hub.add("model", "x/y", saved).head("main").files, "later")
    for revision, width in ((first, 6), (None, 7)):
        signature = ha.analyze(
            "ada/mixed",
            photographs(),
            loader=f"{HERE}:Mixed",
            processor=transform,
            revision=revision,
            **USUAL,
        )
        assert [row.dim for row in signature.rows] == [width, 4]
    with pytest.raises(ModelError, match=r"saved by PyTorchModelHubMixin.*loader='package\.module:Class'"):
        ha.analyze("ada/mixed", photographs(), **USUAL)


def test_on_the_command_line(saved: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in (
        ["inspect", str(saved), "--loader", f"{HERE}:Mixed", "--json"],
        [
            *("analyze", str(saved), "--dataset", "noise", "--loader", f"{HERE}:Mixed", "--num-samples", "8"),
            *("--processor", "imagenet", "--json", "--no-cache"),
        ],
    ):
        with pytest.raises(SystemExit) as done:
            main(command)
        assert done.value.code == 0
        assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


def nothing(place: str) -> str:
    return place


@pytest.mark.parametrize(
    ("loader", "error", "sentence"),
    [
        (
            "tiny",
            InputError,
            "loader is 'tiny'; expected one of .*timm, transformers.*, or package.module:attribute",
        ),
        ("no_such_package:load", InputError, "could not be imported: No module named 'no_such_package'"),
        (f"{HERE}:no_such_name", InputError, "could not be imported: module .* has no attribute"),
        (f"{HERE}:HERE", InputError, "a str; expected a function or a class"),
        (nothing, ModelError, "returned a str; expected a torch.nn.Module"),
        (f"{HERE}:nothing", ModelError, "returned a str; expected a torch.nn.Module"),
        (lambda: None, InputError, "could not be called with the folder: too many positional"),
    ],
)
def test_a_loader_that_does_not_load(loader, error, sentence: str, saved: Path) -> None:
    with pytest.raises(error, match=sentence):
        ha.analyze(saved, photographs(), loader=loader, **USUAL)


def raising(place: str) -> nn.Module:
    raise RuntimeError("no such weights")


def test_a_loader_that_raises_is_told_with_its_place(saved: Path) -> None:
    sentence = (
        rf"loader {HERE}:raising failed in line \d+ of test_loaders\.py: RuntimeError: no such weights\."
    )
    for call in (
        lambda: ha.analyze(saved, photographs(), loader=f"{HERE}:raising", **USUAL),
        lambda: ha.inspect(saved, loader=raising),
    ):
        with pytest.raises(ModelError, match=sentence):
            call()


@pytest.mark.parametrize(
    ("loader", "meant"),
    [
        ("tim", "timm"),
        ("Transformers", "transformers"),
        ("open-clip", "open_clip"),
        ("segmentation_models_pytorch", "segmentation-models-pytorch"),
        (f"{HERE}.transform", f"{HERE}:transform"),
        ("xyz", None),
    ],
)
def test_a_misspelt_loader_gets_a_question(loader: str, meant: str | None, saved: Path) -> None:
    with pytest.raises(InputError, match=r"expected one of .*timm, transformers") as raised:
        ha.inspect(saved, loader=loader)
    question = f"Did you mean {meant!r}?"
    assert (question in str(raised.value)) if meant else ("Did you mean" not in str(raised.value))


@pytest.mark.parametrize(
    "loader", ["timm", "onnx", "pickle", "diffusers", "torch.export", "sentence-transformers"]
)
def test_a_library_of_other_checkpoints(loader: str, tmp_path: Path) -> None:
    """Whoever insists on the wrong library hears whose checkpoint it is."""
    pytest.importorskip({"onnx": "onnx2torch", "diffusers": "diffusers"}.get(loader, "torch"))
    for part in classifier():
        part.save_pretrained(tmp_path)
    for call in (
        lambda: ha.analyze(tmp_path, photographs(), loader=loader, trust_remote_code=True, **USUAL),
        lambda: ha.inspect(tmp_path, loader=loader, trust_remote_code=True),
    ):
        with pytest.raises(
            ModelError, match=f"a checkpoint of transformers, and not of {loader}: leave loader out"
        ):
            call()


def test_a_folder_of_weights_alone_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no known library \(it has no files\)"):
        ha.inspect(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"weights alone do not say what network they .*, config\.json does"):
        ha.inspect(tmp_path)


@pytest.mark.parametrize("written", ["{folder}/", "./net", "../here/net/", "~/net"])
def test_a_folder_in_any_spelling(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here" / "net"
    for part in classifier():
        part.save_pretrained(folder)
    (folder / "model.onnx").write_bytes(b"beside the weights of transformers")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    signature = ha.analyze(written.format(folder=folder), photographs(), **USUAL)
    assert (signature.metadata["model"]["id"], signature.metadata["model"]["library"]) == (
        "net",
        "transformers",
    )
    assert len(ha.inspect(written.format(folder=folder)).rows) == len(signature.rows)


def test_a_loader_needs_its_weights(saved: Path) -> None:
    with pytest.raises(ModelError, match="Mixed gives a network with its weights"):
        ha.analyze(saved, photographs(), loader=f"{HERE}:Mixed", random_weights=True, **USUAL)


def test_a_module_needs_no_loader() -> None:
    with pytest.raises(InputError, match="loader is 'timm', which cannot apply"):
        ha.analyze(Mixed(), photographs(), loader="timm", **USUAL)


OTHERS = """
import json
import torch
from hf_affscore.models.libraries.library import Loaded


class Ours:
    def recognises(self, repository):
        return "ours.json" in repository.files

    def load(self, repository, options):
        folder = repository.folder(["ours.json", "weights.bin"])
        module = self.build(repository, options)
        module.load_state_dict(torch.load(folder / "weights.bin"))
        return Loaded(module, notes={"ours": True})

    def build(self, repository, options):
        width = repository.json("ours.json")["width"]
        return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.ReLU())

    def processor(self, repository, module, options):
        return None
"""


def test_another_package_adds_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an entry point, as pip leaves it: a module and the folder of metadata beside it."""
    site = tmp_path / "site"
    (site / "ours_for_affscore-1.2.dist-info").mkdir(parents=True)
    (site / "ours_for_affscore.py").write_text(OTHERS)
    about = site / "ours_for_affscore-1.2.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ours-for-affscore\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[hf_affscore.libraries]\nours = ours_for_affscore:Ours\n")
    monkeypatch.syspath_prepend(site)
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "ours.json").write_text('{"width": 5}')
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
    torch.save(module.state_dict(), folder / "weights.bin")
    signature = check(folder, module, "imagenet")
    model = signature.metadata["model"]
    assert (model["library"], model["library_version"], model["ours"]) == ("ours", "1.2", True)
    assert ha.analyze(folder, photographs(), loader="ours", **USUAL).rows == signature.rows
    sys.modules.pop("ours_for_affscore")


def test_every_library_of_the_table_is_there() -> None:
    """Each can be imported without the library it is about."""
    import importlib

    for name, entry in LIBRARIES.items():
        module, _, attribute = entry.path.partition(":")
        assert getattr(importlib.import_module(module), attribute)(), name


def test_recognising_imports_no_library(tmp_path: Path) -> None:
    """A checkpoint of timm is recognised without timm; nothing of the table is imported before its turn."""
    import subprocess

    timm.models.save_for_hf(timm.create_model("test_resnet"), tmp_path)
    code = f"""
import sys
from hf_affscore.models.libraries.registry import library_of
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options
from hf_affscore.sources import locate
found = library_of(Repository(locate("model", {str(tmp_path)!r}, revision=None, token=None)), Options())
print(found.name, [name for name in ("torch", "timm", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "timm []"
