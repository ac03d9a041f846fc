"""The published accuracy: where the Hub keeps results now, then the card, with what it was measured on."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_affscore.models.published import Published, published_accuracy
from hf_affscore.models.repository import Repository
from hf_affscore.sources import locate
from tests.hub import LocalHub
from tests.hub.storage import Blob

CARD = """---
model-index:
- name: net
  results:
  - task: {type: image-classification}
    dataset: {type: imagenet-1k, name: ImageNet, split: validation}
    metrics: [{type: f1, value: 0.1}, {type: accuracy, value: 0.5}]
---
"""
RESULTS = """
- dataset: {id: cais/hle, task_id: default}
  value: 12.5
- dataset: {id: ILSVRC/imagenet-1k, task_id: image-classification, revision: abc}
  value: 76.1
  date: 2026-01-15
"""
OF_CARD = Published(
    0.5,
    {
        "dataset": "imagenet-1k",
        "split": "validation",
        "task": "image-classification",
        "source": "model-index",
    },
)
OF_RESULTS = Published(
    76.1,
    {
        "dataset": "ILSVRC/imagenet-1k",
        "task": "image-classification",
        "revision": "abc",
        "source": ".eval_results/imagenet.yaml",
    },
)


def found(hub: LocalHub, files: dict[str, str], folder: Path) -> Published | None:
    """What a repository on the Hub publishes, which is what a folder with the same files does."""
    contents = {name: text.encode("utf-8", "surrogateescape") for name, text in files.items()}
    hub.add("model", "ada/net", contents)
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)
    there, here = (
        published_accuracy(Repository(locate("model", name, revision=None, token=None)))
        for name in ("ada/net", str(folder))
    )
    assert there == here
    return there


def test_results_go_before_the_card(hub: LocalHub, tmp_path: Path) -> None:
    files = {"README.md": CARD, ".eval_results/imagenet.yaml": RESULTS, ".eval_results/z.yml": "- value: 1"}
    assert found(hub, files, tmp_path) == OF_RESULTS


def test_results_are_those_of_the_analysed_commit(hub: LocalHub) -> None:
    repo = hub.add("model", "ada/net", {".eval_results/imagenet.yaml": RESULTS.encode()})
    before = repo.refs["main"]
    text = RESULTS.replace(str(OF_RESULTS.value), "1.5")
    repo.commit("main", {".eval_results/imagenet.yaml": Blob(text.encode(), lfs=False)}, "other results")
    for revision, value in ((before, OF_RESULTS.value), (None, 1.5)):
        published = published_accuracy(Repository(locate("model", "ada/net", revision=revision, token=None)))
        assert published is not None
        assert published.value == value


def test_the_card_where_there_are_no_results(hub: LocalHub, tmp_path: Path) -> None:
    other = "- dataset: {id: cais/hle, task_id: default}\n  value: 12.5\n"
    assert found(hub, {"README.md": CARD, ".eval_results/hle.yaml": other}, tmp_path) == OF_CARD


@pytest.mark.parametrize(
    "text",
    [
        "- [",
        "text",
        "{value: 1}",
        "- dataset: imagenet\n  value: 1",
        "- dataset: {id: imagenet}\n  value: high",
        "- dataset: {id: imagenet}\n  value: true",
        "- dataset: {id: imagenet}\n  value: .nan",
        "- dataset: {id: imagenet}",
        "\udcff",
        "",
        "- 2026-02-31",
    ],
)
def test_what_cannot_be_read_is_passed_over(hub: LocalHub, tmp_path: Path, text: str) -> None:
    assert found(hub, {"README.md": CARD, ".eval_results/imagenet.yaml": text}, tmp_path / "a") == OF_CARD
    broken = {"README.md": "---\nmodel-index: [\n---\n", ".eval_results/imagenet.yaml": text}
    assert found(hub, broken, tmp_path / "b") is None
