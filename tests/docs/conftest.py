"""A newcomer's working directory, and the repositories that the pages speak of, on the local Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from tests.hub import LocalHub
from tests.publish.samples import signature

#: Every model of the pages is the embedded network, every data set its digits: names matter here, not numbers.
MODELS = ("microsoft/resnet-18", "microsoft/resnet-50", "timm/resnet18.a1_in1k", "user/model")
DATASETS = ("cifar10", "user/images")


@pytest.fixture
def newcomer(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to work in; logged in as ``user``, who has published three signatures."""
    monkeypatch.setenv("HF_TOKEN", hub.token("user"))
    monkeypatch.chdir(tmp_path)
    digits = (DEMO_DATASET / "test.parquet").read_bytes()
    for model in MODELS:
        hub.add("model", model, DEMO_MODEL)
    for dataset in DATASETS:
        hub.add("dataset", dataset, {"data/validation-00000-of-00001.parquet": digits})
    curves = {"microsoft/resnet-50": (0.7, 0.5, 0.9), "timm/resnet18.a1_in1k": (0.7, 0.6, 0.9)}
    published = [signature(model, scores=scores, cka=0.5) for model, scores in curves.items()]
    published.append(signature("user/model", scores=(0.9, 0.9, 0.3), cka=0.5))
    for each in published:
        each.push_to_hub("user/signatures")
        each.save_pretrained(tmp_path / "signatures" / each.name.replace("/", "-"))
    signature("microsoft/resnet-50", dataset="cifar10").push_to_hub("user/signatures-by-data")
    published[0].save_pretrained(tmp_path / "signature")
    for repository in hub.store.repositories.values():
        repository.refs["v1.0"] = repository.refs["main"]
    return tmp_path
