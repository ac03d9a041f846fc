"""Quantised and reduced checkpoints: loaded where they can be, and the signature says what they are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import hf_affscore as ha
from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.transformers_quantized import PACKAGES, bits_of
from tests.models.by_hand import check, photographs
from tests.versions import needs

USUAL = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
VISION = {
    **SHAPE,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 64,
}  # widths that kernels of 4 bits can divide
PROCESSOR = hf.ViTImageProcessor(size={"height": 32, "width": 32})


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A checkpoint in float32."""
    torch.manual_seed(0)
    folder = tmp_path / "whole"
    hf.ViTForImageClassification(hf.ViTConfig(**VISION)).save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)
    return folder


def declare(folder: Path, settings: dict[str, Any]) -> None:
    """Write a quantisation into the configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))


def to_fp8(folder: Path, block: int = 16) -> None:
    """Store the weights of all hidden linear layers in eight bits, with one scale for each square of a weight."""
    file, stored = folder / "model.safetensors", {}
    for name, weight in load_file(file).items():
        stored[name] = weight
        if name.endswith(".weight") and weight.ndim == 2 and ".layer" in name and "norm" not in name:
            rows, columns = weight.shape[0] // block, weight.shape[1] // block
            squares = weight.reshape(rows, block, columns, block)
            scale = squares.abs().amax((1, 3)) / 448  # the largest number of float8_e4m3fn
            scaled = squares / scale[:, None, :, None]
            stored[name] = scaled.reshape(weight.shape).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale
    save_file(stored, file, metadata={"format": "pt"})
    declare(
        folder,
        {
            "quant_method": "fp8",
            "weight_block_size": [block, block],
            "modules_to_not_convert": ["classifier"],
        },
    )


@needs("transformers", "5.17", "fp8 is loaded on GPUs only")
def test_a_checkpoint_in_fp8(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = ha.analyze(whole, photographs(), **USUAL)
    assert original.metadata["model"]["stored_dtype"] == "float32"
    to_fp8(whole)
    by_hand = hf.ViTForImageClassification.from_pretrained(whole, dtype=torch.float32)
    model = check(whole, by_hand, PROCESSOR).metadata["model"]
    assert (model["quantization"]["quant_method"], model["quantization"]["bits"]) == ("fp8", 8)
    assert (model["stored_dtype"], model["dtype"]) == ("float8_e4m3fn", "float32")
    assert model["num_parameters"] == original.metadata["model"]["num_parameters"]
    reduced = ha.analyze(whole, photographs(), **USUAL)
    print(reduced)
    assert "weights quantised by fp8, 8 bits" in capsys.readouterr().out
    assert 0 < abs(reduced.rows[0].affinity_score - original.rows[0].affinity_score) < 0.01


def quantised(library: str, whole: Path) -> Path:
    """The checkpoint as transformers writes it with a library, in 4 or 8 bits."""
    if library == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        settings: Any = hf.TorchAoConfig(Int8WeightOnlyConfig())
    else:
        bits = {"load_in_4bit": True} if library == "bitsandbytes 4" else {"load_in_8bit": True}
        settings = hf.BitsAndBytesConfig(**bits)
    folder = whole.parent / "quantised"
    module = hf.ViTForImageClassification.from_pretrained(whole, quantization_config=settings)
    module.save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("library", "bits"),
    [
        pytest.param("torchao", 8, marks=pytest.mark.library("torchao")),
        pytest.param("bitsandbytes 8", 8, marks=pytest.mark.library("bitsandbytes")),
        pytest.param("bitsandbytes 4", 4, marks=pytest.mark.library("bitsandbytes")),
    ],
)
def test_a_checkpoint_that_a_library_quantised(library: str, bits: int, whole: Path) -> None:
    folder = quantised(library, whole)
    model = check(folder, hf.ViTForImageClassification.from_pretrained(folder), PROCESSOR).metadata["model"]
    assert (model["quantization"]["quant_method"], model["quantization"]["bits"]) == (
        library.split()[0],
        bits,
    )
    assert (
        model["num_parameters"]
        == ha.analyze(whole, photographs(), **USUAL).metadata["model"]["num_parameters"]
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_checkpoint_in_half_precision_says_so(dtype: str, whole: Path) -> None:
    module = hf.ViTForImageClassification.from_pretrained(whole, dtype=getattr(torch, dtype))
    module.save_pretrained(whole)
    model = check(whole, module.float(), PROCESSOR).metadata["model"]
    assert (model["stored_dtype"], model["dtype"]) == (dtype, "float32")
    as_stored = ha.analyze(whole, photographs(), dtype="auto", **USUAL).metadata["model"]
    assert (as_stored["stored_dtype"], as_stored["dtype"]) == (dtype, dtype)
    drawn = ha.analyze(whole, photographs(), random_weights=True, **USUAL).metadata["model"]
    assert "stored_dtype" not in drawn


@pytest.mark.parametrize("method", sorted(PACKAGES))
def test_a_package_that_is_missing_is_named(
    method: str, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(whole, {"quant_method": method, "bits": 4})
    (whole / "README.md").write_text("---\nbase_model: ada/original\n---\n")
    real = importlib.util.find_spec
    missing = PACKAGES[method]
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in missing else real(name, *more)
    )
    line = " ".join(missing.values()).replace("[", r"\[")
    sentence = rf"'whole' is quantised by {method} \(4 bits\), .*pip install {line}; or .* \(ada/original\)\."
    with pytest.raises(ModelError, match=sentence):
        ha.analyze(whole, photographs(), **USUAL)
    assert len(ha.inspect(whole).rows) == 2  # needs no weights


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("spqr", "is quantised by spqr and could not be loaded on this machine: GPU is required"),
        (
            "of-tomorrow",
            r"is quantised by of-tomorrow, which transformers .* does not know; expected one of .*torchao",
        ),
    ],
)
def test_a_method_that_does_not_run_here_is_named(method: str, sentence: str, whole: Path) -> None:
    declare(whole, {"quant_method": method})
    with pytest.raises(ModelError, match=sentence):
        ha.analyze(whole, photographs(), **USUAL)


@needs("transformers", "5", "fp8 is loaded on GPUs only")
def test_kernels_that_fail_name_the_method(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_fp8(whole)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("N must be divisible by block_n")

    monkeypatch.setattr(hf.ViTForImageClassification, "forward", fail)
    with pytest.raises(ModelError, match=r"block_n\. Its weights are quantised by fp8, which may not run"):
        ha.analyze(whole, photographs(), **USUAL)


@pytest.mark.parametrize(
    ("settings", "bits"),
    [
        ({"quant_method": "awq", "bits": 4}, 4),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}}, 3),
        ({"quant_method": "quanto", "weights": "int2", "activations": "int8"}, 2),
        ({"load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_storage": "uint8"}, 4),
        (
            {
                "quant_method": "torchao",
                "quant_type": {"default": {"_type": "Int8DynamicActivationInt4WeightConfig"}},
            },
            4,
        ),
        ({"quant_method": "torchao", "quant_type": {"default": {"weight_dtype": {"_data": "int4"}}}}, 4),
        ({"quant_method": "mxfp4"}, 4),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": 4}, "input_activations": {"num_bits": 8}}},
            },
            4,
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"mlp": {"bits": 8}}}, [4, 8]),
        ({"quant_method": "aqlm", "in_group_size": 8}, None),
    ],
)
def test_the_bits_of_a_weight(settings: dict[str, Any], bits: Any) -> None:
    assert bits_of(settings) == bits
