"""Cards as they look: golden files, and properties that golden files cannot show.

``python -m tests.publish.test_cards`` writes the golden files anew; look at the difference before committing.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from hf_affscore.publish.cards import LISTED, dataset_card, model_card, model_index
from hf_affscore.publish.index import Entry
from hf_affscore.publish.markdown import BEGIN, END
from tests.publish.samples import signature
from tests.publish.test_markdown import NASTY, rendered

GOLDEN = Path(__file__).parent / "golden"
THEIR_CARD = "---\nlicense: mit # really\n---\n# A net\n\nBy Ada.\n"


def golden() -> dict[str, str]:
    """The cards that are kept, by file name."""
    many = tuple(math.sin(index / 9) ** 2 for index in range(100))
    entries = [
        Entry.of(signature()),
        Entry.of(signature("timm/wide", scores=many, activation="GELU", cka=0.5)),
        Entry.of(signature("timm/wide", weights="random, seed 0", scores=(0.75, 0.8))),
        Entry.of(signature("a local net", revision=None, dataset="noise", split="")),
        Entry.of(signature("<b>|[x](y)", scores=())),
    ]
    return {
        "dataset.md": dataset_card("", entries, "ada/signatures"),
        "dataset_edited.md": dataset_card(
            "---\nlicense: mit\ntags: [mine]\n---\n# Mine\n", entries[:1], "a/b"
        ),
        "model.md": model_card(THEIR_CARD, signature()),
        "model_index.md": model_index(model_card(THEIR_CARD, signature()), signature(), "net"),
    }


@pytest.mark.parametrize("name", sorted(golden()))
def test_cards_are_as_they_were(name: str) -> None:
    assert golden()[name] == (GOLDEN / name).read_text()


def test_the_metadata_is_what_datasets_and_the_hub_read() -> None:
    card = DatasetCard(golden()["dataset.md"])
    layers, summary = card.data["configs"]
    assert layers == {
        "config_name": "layers",
        "default": True,
        "data_files": "signatures/*/signature.parquet",
    }
    assert summary == {"config_name": "summary", "data_files": "summary.parquet"}
    features = {f["name"]: f["dtype"] for f in card.data["dataset_info"][0]["features"]}
    assert features["cka"] == features["affinity_score"] == "float64"
    assert features["index"] == "int64"
    assert "https://arxiv.org/abs/2310.11439" in card.text


def test_what_others_wrote_stays() -> None:
    text = "---\nlicense: mit  # keep\nconfigs:\n- config_name: mine\n  data_files: x.csv\ntags: one\n---\n# Mine\n"
    once = dataset_card(text, [Entry.of(signature())], "a/b")
    assert "license: mit  # keep\n" in once
    assert "# Mine\n" in once
    data = DatasetCard(once).data
    assert [config["config_name"] for config in data["configs"]] == ["layers", "summary", "mine"]
    assert data["tags"][0] == "one"
    assert dataset_card(once, [Entry.of(signature())], "a/b") == once


def test_a_card_lists_no_more_than_a_page_can_bear() -> None:
    entries = [Entry.of(signature(f"ada/net{n}")) for n in range(LISTED + 3)]
    card = dataset_card("", entries, "a/b")
    assert "… and 3 more, in the configuration `summary`." in card
    assert card.count("signature.png)") == LISTED


@pytest.mark.parametrize("text", NASTY)
def test_nothing_from_outside_is_interpreted(text: str) -> None:
    sig = signature(text, weights=text, dataset=text, split=text, activation=text)
    sig.metadata["options"] = {text: text}
    sig.metadata["environment"]["versions"] = {text: text, "hf_affscore": text}
    plain = signature("x", weights="x", dataset="x", split="x", activation="x")
    plain.metadata["options"] = {"x": "x"}
    plain.metadata["environment"]["versions"] = {"x": "x", "hf_affscore": "x"}

    def shape(card: str) -> list[str]:
        """The tags of a card, and where its links lead."""
        import re

        body = card.split("\n---\n", 1)[-1]
        found = re.findall(r"<(/?\w+|!--)|(?:href|src)=\"([^\"]*)\"", rendered(body))
        return [re.sub(r"signatures/[a-z0-9-]+/", "", tag or link) for tag, link in found]

    assert shape(dataset_card("", [Entry.of(sig)], "a/b")) == shape(
        dataset_card("", [Entry.of(plain)], "a/b")
    )
    assert shape(model_card("", sig)) == shape(model_card("", plain))
    with_index = model_index(model_card("# Net\n", sig), sig, text)
    assert with_index.count(BEGIN) == with_index.count(END) - with_index.split("\n---\n")[0].count(END) == 1
    assert set(yaml.safe_load(with_index.split("\n---\n")[0][4:])) == {"model-index"}


def test_results_of_others_stay_in_the_model_index_and_ours_is_replaced() -> None:
    theirs = (
        "---\nlicense: mit # x\nmodel-index:\n- name: Their name\n  results:\n"
        "  - task: {type: image-classification}\n    dataset: {type: ada/images, name: Images, split: test}\n"
        "    metrics: [{type: accuracy, value: 0.9}]\n---\n"
    )
    once = model_index(theirs, signature(), "net")
    better = signature(scores=(0.9, 1.0))
    twice = model_index(once, better, "net")
    assert twice.startswith("---\nlicense: mit # x\n")
    results = ModelCard(twice).data.eval_results
    assert results is not None
    assert [(r.metric_type, r.metric_value) for r in results] == [("accuracy", 0.9), ("affinity_score", 0.95)]
    assert ModelCard(twice).data["model_name"] == "Their name"
    other_split = model_index(twice, signature(split="train"), "net")
    assert len(ModelCard(other_split).data.eval_results or []) == 3


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in golden().items():
        (GOLDEN / name).write_text(text)
