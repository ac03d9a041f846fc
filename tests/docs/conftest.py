"""A newcomer's working directory, and the repositories that the pages speak of, on the local Hub."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from tests.hub import LocalHub
from tests.publish.samples import signature

#: Every model of the pages is the embedded network, every data set its digits: names matter here, not numbers.
MODELS = ("microsoft/resnet-18", "microsoft/resnet-50", "timm/resnet18.a1_in1k", "user/model")
DATASETS = ("cifar10", "user/images")
SIGNATURES = [
    signature("microsoft/resnet-50", dataset="cifar10", scores=(0.7, 0.5, 0.9), cka=0.5),
    signature("timm/resnet18.a1_in1k", dataset="cifar10", scores=(0.7, 0.6, 0.9), cka=0.5),
    signature("user/model", dataset="cifar10", scores=(0.9, 0.9, 0.3), cka=0.5),
]


@pytest.fixture
def newcomer(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in; logged in as ``user``, who has analysed and published a little."""
    monkeypatch.setenv("HF_TOKEN", hub.token("user"))
    monkeypatch.chdir(tmp_path)
    for model in MODELS:
        hub.add("model", model, DEMO_MODEL)
    for dataset in DATASETS:
        hub.add("dataset", dataset, {"data/validation-00000-of-00001.parquet": some_digits()})
    for sig in SIGNATURES:
        sig.push_to_hub("user/signatures")
    published = hub.repo("dataset", "user/signatures")
    published.refs["v1.0"] = published.refs["main"]
    return tmp_path


def store_signatures(folder: Path) -> None:
    """The signatures that a page speaks of and does not make."""
    for name in ("signature", "signatures/one", "my-signatures/one", "before", "after"):
        SIGNATURES[0].save_pretrained(folder / name)
    SIGNATURES[1].save_pretrained(folder / "signatures" / "two")


def some_digits(count: int = 64) -> bytes:
    """The first of the embedded digits, as a file of a data set."""
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(DEMO_DATASET / "test.parquet").slice(0, count), buffer)
    return buffer.getvalue()
