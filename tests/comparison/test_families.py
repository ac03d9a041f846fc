"""Families by pattern or by architecture, and what pooling kept."""

import pytest

from hf_affscore.comparison import compare
from hf_affscore.comparison.families import UNKNOWN
from hf_affscore.errors import InputError
from tests.comparison.test_compare_command import run
from tests.signatures import make_signature


def network(name, kind=None):
    signature = make_signature([0.5, 0.6], name=name)
    if kind:
        signature.metadata["model"]["class"] = kind
    return signature


def test_architectures_are_the_classes_without_their_task():
    kinds = [
        "ResNetForImageClassification",
        "ViTModel",
        "EfficientNet",
        "CLIPVisionModelWithProjection",
        None,
    ]
    compared = compare([network(str(i), kind) for i, kind in enumerate(kinds)])
    assert compared.families == ("ResNet", "ViT", "EfficientNet", "CLIPVision", UNKNOWN)


def test_a_class_around_all_networks_of_a_library_is_no_architecture():
    signature = network("timm/resnet18", "TimmWrapperForImageClassification")
    signature.metadata["model"]["wraps"] = "ResNet"
    assert compare([signature]).families == ("ResNet",)


def test_the_first_pattern_that_matches_names_the_family():
    networks = [network("timm/ResNet18", "ResNet"), network("timm/vit_tiny", "VisionTransformer")]
    compared = compare(networks, families={"CNN": "*/resnet*", "timm": "timm/*"})
    assert compared.families == ("CNN", "timm")


def test_a_pattern_without_a_network_is_refused():
    with pytest.raises(InputError, match=r"'vgg\*' of family 'VGG' matches none .* such as '\*resnet\*'"):
        compare([network("timm/resnet")], families={"VGG": "vgg*"})


def test_the_command_takes_families(capsys, tmp_path):
    network("a").save_pretrained(tmp_path / "a")
    code, _, _ = run(capsys, "compare", tmp_path, "--family", "VGG=vgg*")
    assert "'vgg*' of family 'VGG' matches none" in code
    code, _, _ = run(capsys, "compare", tmp_path, "--family", "VGG")
    assert "--family is 'VGG'; expected NAME=PATTERN" in code
    assert run(capsys, "compare", tmp_path, "--family", "A=a")[0] == 0
