"""What changes a number changes the cache's key: settings, registrations, variables, machine, own code."""

import json

import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.capture import activations
from hf_affscore.options import Options
from hf_affscore.run import conditions as module
from hf_affscore.run.cache import cache_entries
from hf_affscore.run.conditions import VARIABLES, accelerators, conditions, torch_settings
from tests.versions import needs

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def unregistered(monkeypatch):
    monkeypatch.setattr(activations, "_registered", {})


def analysed(**options):
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=16, progress=False, **options)


def test_activations_that_are_registered_later_are_scored(unregistered):
    """And where they are not registered any more, the first result is found again."""
    few = analysed()
    ha.register_activation(nn.BatchNorm2d)
    many = analysed()
    assert len(many.rows) > len(few.rows)
    assert many.metadata["environment"]["registered_activations"] == [
        "torch.nn.modules.batchnorm.BatchNorm2d"
    ]
    activations._registered.clear()
    assert analysed() == few
    assert len(cache_entries()) == 2


@pytest.mark.parametrize(
    "target", [nn.LayerNorm, torch.abs, torch.Tensor.clamp, torch.nn.functional.normalize, lambda x: x]
)
def test_whatever_can_be_registered_has_a_name(target, unregistered):
    if getattr(target, "__name__", "") == "<lambda>":
        target.__name__ = "own"
    ha.register_activation(target)
    assert activations.registered_names()


def flag(setter, getter, value):
    """A setting of torch: changed, and put back."""

    def change(monkeypatch):
        before = getter()
        setter(value)
        return lambda: setter(before)

    return change


def attribute(owner, name, value):
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


OTHER_ENGINE = next(
    engine
    for engine in torch.backends.quantized.supported_engines
    if engine not in ("none", torch.backends.quantized.engine)
)
SETTINGS = {
    "deterministic": flag(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "default dtype": flag(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "cudnn": attribute(torch.backends.cudnn, "deterministic", True),
    "cudnn benchmark": attribute(torch.backends.cudnn, "benchmark", True),
    "fast path": flag(
        torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled, False
    ),
    "flash": flag(torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled, False),
    "math": flag(torch.backends.cuda.enable_math_sdp, torch.backends.cuda.math_sdp_enabled, False),
    "onednn": flag(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled, False),
    "denormal numbers": flag(torch.set_flush_denormal, lambda: False, True),
    "engine of quantised kernels": attribute(torch.backends.quantized, "engine", OTHER_ENGINE),
    "blas": flag(
        torch.backends.cuda.preferred_blas_library, torch.backends.cuda.preferred_blas_library, "cublaslt"
    ),
    "linalg": flag(
        torch.backends.cuda.preferred_linalg_library,
        torch.backends.cuda.preferred_linalg_library,
        "cusolver",
    ),
    "sums in half precision": flag(
        lambda value: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", value),
        lambda: torch.backends.cuda.matmul.allow_fp16_accumulation,
        True,
    ),
    "truncated images": attribute(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
    "large images": attribute(Image, "MAX_IMAGE_PIXELS", None),
    "cpu": attribute(module, "_cpu_capability", lambda: "AVX2"),
    **{name: lambda monkeypatch, name=name: monkeypatch.setenv(name, "1") for name in VARIABLES},
}


OLDER = {"sums in half precision": [needs("torch", "2.7", "it has no such setting")]}


@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=OLDER.get(name, []), id=name) for name in SETTINGS]
)
def test_settings_that_change_numbers_are_part_of_the_key(setting, monkeypatch):
    before = conditions(Options(), CPU)
    assert conditions(Options(), CPU) == before
    undo = SETTINGS[setting](monkeypatch)
    try:
        assert conditions(Options(), CPU) != before
    finally:
        if undo is not None:
            undo()


def test_a_setting_makes_another_entry_and_the_metadata_say_which():
    plain = analysed()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        other = analysed()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert len(cache_entries()) == 2
    assert analysed() == plain
    assert plain.metadata["environment"]["torch"]["attention"]["fast_path"] is True
    assert other.metadata["environment"]["torch"]["attention"]["fast_path"] is False
    json.dumps(other.metadata)


def test_another_version_of_a_library_that_loads_models_is_another_key(monkeypatch):
    before = conditions(Options(), CPU)
    monkeypatch.setattr(module, "installed_libraries", lambda: {"timm": "0.9"})
    assert conditions(Options(), CPU) != before


def test_code_that_loads_a_model_is_known_by_its_content(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_loader.py").write_text("def load(): ...")
    options = Options(loader="own_loader:load")
    before = conditions(options, CPU)
    (tmp_path / "own_loader.py").write_text("def load(): return 1")
    assert conditions(options, CPU) != before
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "blocks.py").write_text("from os.path import join\nWIDTH = 1")
    (tmp_path / "own_loader.py").write_text("def load():\n    from nets import blocks")
    before = conditions(options, CPU)
    (tmp_path / "nets" / "other.py").write_text("not imported")
    assert conditions(options, CPU) == before
    (tmp_path / "nets" / "blocks.py").write_text("WIDTH = 2")
    assert conditions(options, CPU) != before
    (tmp_path / "own_loader.py").write_text("no Python")
    assert conditions(options, CPU)["loader"]
    assert conditions(Options(loader="no_such_module_at_all:load"), CPU)["loader"] is None


def test_the_names_of_accelerators(monkeypatch):
    assert accelerators(CPU) == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    assert accelerators(torch.device("cuda", 1)) == ["GPU 0", "GPU 1"]
    assert accelerators(torch.device("meta")) == ["meta"]


def test_settings_can_be_stored():
    assert json.loads(json.dumps(torch_settings())) == torch_settings()
