"""The metadata of a card is what the Hub's client says it is, and changing a key changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from hypothesis import given
from hypothesis import strategies as st

from hf_affscore.errors import InputError
from hf_affscore.publish.frontmatter import metadata_of, set_metadata
from hf_affscore.publish.markdown import merge_section
from tests.versions import is_older, needs

FRONT = """---
# a comment
license: mit
tags:   # trailing
  - a
  # within
  - b

# about the index
model-index:
- name: net
  results: []
# about the quoted
"quoted": {x: 1}
---
# Net
tags:
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("key", ["tags", "model-index", "license", "quoted", "new"])
def test_setting_one_key_keeps_every_other_line(key: str, line_end: str) -> None:
    text = FRONT.replace("\n", line_end)
    changed = set_metadata(text, key, ["x: y", {"z": "<b>"}])
    assert metadata_of(changed) == {**metadata_of(text), key: ["x: y", {"z": "<b>"}]}
    others = [
        line
        for line in ("# a comment", "license: mit", "tags:   # trailing", '"quoted": {x: 1}')
        if not line.strip('"').startswith(key)
    ]
    others += ["# about the index", "# about the quoted"]
    assert all(line + line_end in changed for line in others)
    assert changed.endswith(f"---{line_end}# Net{line_end}tags:{line_end}")
    assert set_metadata(changed, key, ["x: y", {"z": "<b>"}]) == changed


def client_reads(path: Path, metadata: dict[str, Any]) -> bool:
    """Whether the client reads this; 1.33 did not know a mark before it, and 1.24 no spaces after it."""
    return is_older("huggingface-hub", "2") or ModelCard.load(path).data.to_dict() == metadata


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\n", "\n\n  \n", "\ufeff", "\ufeff\n", " \t\n", "  "])
@pytest.mark.parametrize("after", ["# Net\n", "", "\n---\n\nA rule above\n"])
def test_metadata_is_what_the_client_reads_as_metadata(
    tmp_path: Path, before: str, line_end: str, after: str
) -> None:
    text = f"{before}---\nlicense: mit # mine\ntags:\n- a\n--- \n{after}".replace("\n", line_end)
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())
    assert metadata_of(text) == {"license": "mit", "tags": ["a"]}
    assert client_reads(path, metadata_of(text))
    changed = set_metadata(text, "tags", ["b"])
    assert changed == text.replace("- a", "- b")
    more = set_metadata(changed, "new", 1)
    assert more == changed.replace(f"- b{line_end}", f"- b{line_end}new: 1{line_end}")
    path.write_bytes(more.encode())
    assert metadata_of(more) == {"license": "mit", "tags": ["b"], "new": 1}
    assert client_reads(path, metadata_of(more))


@pytest.mark.parametrize(
    "text", ["# Net\n---\nlicense: mit\n---\n", "text\n", "--- x\na: 1\n---\n", "---\na: 1\n"]
)
def test_what_the_client_does_not_read_is_no_metadata(text: str) -> None:
    assert metadata_of(text) == {}
    changed = set_metadata(text, "license", "mit")
    assert changed == f"---\nlicense: mit\n---\n\n{text}"
    assert ModelCard(changed).data.to_dict() == {"license": "mit"}


def test_metadata_is_made_where_there_is_none() -> None:
    assert set_metadata("# Net\n", "tags", ["a"]) == "---\ntags:\n- a\n---\n\n# Net\n"
    assert set_metadata("\ufeff# Net\n", "tags", ["a"]) == "\ufeff---\ntags:\n- a\n---\n\n# Net\n"
    assert set_metadata("---\n---\n", "tags", ["a"]) == "---\ntags:\n- a\n---\n"


@pytest.mark.parametrize("text", ["---\n[1, 2\n---\n", "---\n- a\n---\n", "---\na: 2026-02-31\n---\n"])
def test_broken_metadata_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Repair it first"):
        set_metadata(text, "tags", [])


def test_metadata_that_cannot_be_changed_alone_is_refused() -> None:
    with pytest.raises(InputError, match="by hand"):
        set_metadata("---\n{license: mit, tags: [a]}\n---\n", "tags", ["b"])
    with pytest.raises(InputError, match="by hand"):
        set_metadata("---\ntags: &x [a]\nother: *x\n---\n", "tags", ["b"])


@given(st.text(max_size=40))
def test_values_from_outside_cannot_leave_their_place_in_yaml(value: str) -> None:
    try:
        text = set_metadata("---\nlicense: mit\n---\n", "x", [{"name": value}])
    except InputError:  # characters that YAML cannot hold
        return
    block = text.split("---\n")[1] if "---\n" not in value else text
    assert metadata_of(text) == {"license": "mit", "x": [{"name": value}]}
    assert yaml.safe_load(block) is not None


#: Cards as people and tools write them; of some the client says that their metadata are no YAML.
CARDS = {
    "nothing": "",
    "text": "# Net\n",
    "plain": "---\na: 1\n---\n# Net\n",
    "blank lines before": "\n \t\n---\na: 1\n---\n",
    "byte order mark": "\ufeff---\na: größe 模型 🤗\n---\n",
    "byte order mark, blank line": "\ufeff\n---\na: 1\n---\n",
    "byte order mark later": "\n\ufeff---\na: 1\n---\n",
    "CRLF": "---\r\na: 1\r\n---\r\n# Net\r\n",
    "both line ends": "---\na: 1\r\nb: 2\n---\r\n",
    "dashes in the text": "---\na: 1\n---\n# Net\n---\nb: 2\n---\n",
    "rules only": "# Net\n---\na: 1\n---\n",
    "dots instead": "---\na: 1\n...\n# Net\n",
    "four dashes": "----\na: 1\n----\n",
    "spaces after the first": "--- \na: 1\n---\n",
    "spaces after the last": "---\na: 1\n--- \t\n# Net",
    "dashes with text": "---\na: 1\n---x\nb: 2\n---\n",
    "dashes in a value": "---\na: |\n  ---\n  x\nb: x --- y\n---\n",
    "comments": "---\n# one\na: 1 # two\n# three\n---\n",
    "comments only": "---\n# one\n---\n",
    "a key twice": "---\na: 1\na: 2\n---\n",
    "empty": "---\n---\n# Net\n",
    "empty, CRLF": "---\r\n---\r\n",
    "empty at the end": "---\n---",
    "blank": "---\n\n\n---\n",
    "no line end": "---\na: 1\n---",
    "never closed": "---\na: 1\n",
    "tabs": "---\na:\t1\n---\n",
    "tab before a key": "---\na:\n\tb: 1\n---\n",
    "anchors": "---\na: &x {k: [1]}\nb: *x\nc:\n  <<: *x\n---\n",
    "truth, quoted or not": "---\na: 'yes'\nb: yes\nc: \"no\"\nd: no\ne: 'null'\n---\n",
    "numbers": "---\na: [1e-3, 012, 12:30, 2024-01-01, ~, .5]\n---\n",
    "list": "---\n- a\n---\n",
    "words": "---\njust text\n---\n",
    "not closed within": "---\na: [1\n---\n",
    "no such day": "---\na: 2026-02-31\n---\n",
    "an object": "---\na: !!python/object:os.system {}\n---\n",
    "NUL": "---\na: \0\n---\n",
    "two blocks": "---\na: 1\n\n---\n---\nb: 2\n---\n",
}


def said_by_the_client(path: Path) -> Any:
    """The metadata, or the word InputError where the client raises."""
    try:
        return metadata_load(path) or {}
    except (yaml.YAMLError, ValueError):
        return "InputError"


#: What older clients do not read, and the Hub does.
NEWER = {
    "byte order mark": needs("huggingface-hub", "2", "it does not drop such a mark"),
    "byte order mark, blank line": needs("huggingface-hub", "2", "it does not drop such a mark"),
    "spaces after the last": needs("huggingface-hub", "1.25", "it knows no spaces there"),
}


@pytest.mark.parametrize(
    "card", [pytest.param(card, marks=NEWER.get(name, ()), id=name) for name, card in CARDS.items()]
)
def test_metadata_and_their_change_are_what_the_client_reads(card: str, tmp_path: Path) -> None:
    """A key is added, changed and, in the client's eyes, nothing else; all other bytes stay in their order."""
    path = tmp_path / "README.md"
    path.write_bytes(card.encode())
    before = said_by_the_client(path)
    if before == "InputError":
        for change in (metadata_of, lambda text: set_metadata(text, "new", 1)):
            with pytest.raises(InputError, match="Repair it first"):
                change(card)
        assert merge_section(card, "ours").startswith(card), "a section needs no metadata"
        return
    assert metadata_of(card) == before
    for value in (["x: y", {"z": "<b>"}], ["x: y", {"z": "<b>"}, "no"]):
        changed = set_metadata(card, "new", value)
        path.write_bytes(changed.encode())
        assert said_by_the_client(path) == {**before, "new": value}
        rest = iter(changed)
        assert all(character in rest for character in card), "every character is there, in its order"
    assert set_metadata(changed, "new", value) == changed
    assert set_metadata(merge_section(changed, "ours"), "new", value) == merge_section(changed, "ours")


def test_what_others_wrote_in_a_list_of_ours_is_written_as_it_was() -> None:
    """To the Hub ``no`` is a word and ``1e-3`` a number; PyYAML would write false and a text. Comments stay."""
    card = "---\ntags: # why\n  - no # really\n  - 1e-3\n  # all\n  - {b: 012, c: 'yes'}\n# next\nz: 1\n---\n"
    tags = metadata_of(card)["tags"]
    once = set_metadata(card, "tags", [*tags, "vision"])
    lines = "# why\n# really\n# all\ntags:\n- no\n- 1e-3\n- {b: 012, c: 'yes'}\n- vision\n# next\nz: 1\n"
    assert once == f"---\n{lines}---\n"
    assert set_metadata(once, "tags", [*tags, "vision", "more"]) == once.replace(
        "vision\n", "vision\n- more\n"
    )
    nested = "---\nr:\n- name: net\n  results: [{value: 1e-3}]\n---\n"
    results = [{"name": "net", "results": [*metadata_of(nested)["r"][0]["results"], {"value": 0.5}]}]
    assert "- {value: 1e-3}\n  - value: 0.5\n" in set_metadata(nested, "r", results)
