"""Text for cards: nothing from outside is interpreted, nothing of others is touched."""

from __future__ import annotations

import math
import re
from html import unescape
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_affscore.errors import InputError
from hf_affscore.publish.markdown import (
    BEGIN,
    END,
    bars,
    escape,
    is_repo_id,
    merge_section,
    metadata_of,
    repository_link,
    set_metadata,
    table,
)
from tests.versions import needs

NASTY = [
    "a | b | c",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "https://evil.example",
    "`code` **bold** _it_ ~~no~~",
    "line\nbreak\r\n\n# heading",
    "---\nlicense: mit\n---",
    END,
    "&lt;b&gt; &#60;b&#62;",
    "\\| \\",
    "$$x$$ :smile: @user #1",
    "\u202eevil\u200b\x00\x1b[31m",
    "```\nfence",
]


LINKING = [
    "www.evil.example",
    "x (WWW.Evil.example/?q=1)",
    "https://evil.example",
    "ftp://evil.example",
    "//evil.example",
    "mailto:me@evil.example",
    "a.b+c@d-e.example.org",
    "@user and ada/@user",
    "#123 and ada/net#123",
    "GH-123",
    "ada/net@0123456789abcdef0123456789abcdef01234567",
    "0123456789abcdef0123456789abcdef01234567",
    "deadbeef",
    "<https://evil.example>",
    "<me@evil.example>",
    "[^1] and [^1]: note",
    "[net]: https://evil.example",
    ":smile: $x$",
]
#: What GitHub and the Hub look for in each piece of text of the page that Markdown has become.
AUTOLINK = re.compile(r"www\.\w|\w:/|//\w|\w@\w|@\w|#\d|\bgh-\d|\b[0-9a-f]{7,}\b|:\w+:|\$\w", re.IGNORECASE)


@pytest.mark.parametrize("text", LINKING)
def test_a_name_does_not_become_a_link_or_a_mention(text: str) -> None:
    """After the rendering too, when references are characters again: GitHub makes its links there."""
    assert AUTOLINK.search(text) or "[" in text
    page = rendered(table(["name"], [[escape(text)]]) + f"\n\nBy {escape(text)} and\n\n{escape(text)}")
    assert "<a" not in page
    assert not AUTOLINK.search(unescape(re.sub("<[^>]*>", "", page)))
    assert unescape(page).replace("\u200b", "").count(text) == 3


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(markdown)


@settings(max_examples=25)
@given(st.text(max_size=60))
@example("\n")
@pytest.mark.parametrize("prefix", ["", *NASTY])
def test_escaped_text_is_one_cell_of_plain_text(prefix: str, text: str) -> None:
    html = rendered(table(["name"], [[f"x{escape(prefix + text, limit=1000)}"]]))
    tags = re.findall(r"<(/?\w+)", html)
    head = ["table", "thead", "tr", "th", "/th", "/tr", "/thead"]
    assert tags == [*head, "tbody", "tr", "td", "/td", "/tr", "/tbody", "/table"]


def test_escaped_text_still_reads_as_it_was() -> None:
    for text in ("a|b", "<b>", "größe 'x' \"y\"", "a_b*c", "_x_", "a__b_", "日本", *LINKING):
        assert unescape(escape(text)).replace("\u200b", "") == text
    assert "\u202e" not in escape("\u202ex")
    assert len(escape("x" * 500)) == 120


def test_only_what_can_be_a_repository_becomes_a_link() -> None:
    commit = "a" * 40
    assert repository_link("ada/net.v1_x", commit) == "[ada/net.v1_x](https://huggingface.co/ada/net.v1_x)"
    for name in ("net", "a/b/c", "../x/y", "ada/net)", "ada/<b>", "ada/-", "/x", "ada/net\n"):
        assert not is_repo_id(name)
        assert "](http" not in repository_link(name, commit)
    assert "](http" not in repository_link("ada/net", "sha256:" + "a" * 64)


def test_bars_follow_the_scores() -> None:
    assert bars([0, 1 / 8, 2 / 8, 7 / 8, 1]) == "▁▂▃██"
    assert bars([math.nan, None]) == "··"
    assert bars([]) == ""
    assert len(bars([0.5] * 1000)) <= 32


CARD = "---\r\nlicense: mit # mine\r\n---\r\n# Net\r\n\r\ntext  \r\nno newline at the end"


CARDS = ["", "# Net\n", "# Net", CARD, "\ufeff# Net\n", "bad \udcff bytes\n", "---\r", "# Net\r", "a\rb\n"]


@pytest.mark.parametrize("text", CARDS)
def test_a_section_is_added_once_and_replaced_in_place(text: str) -> None:
    once = merge_section(text, "one\ntwo")
    assert once.startswith(text)
    moved = once + "after it"
    twice = merge_section(moved, "three")
    assert twice.startswith(text)
    assert twice.endswith("after it")
    assert "one" not in twice
    assert merge_section(twice, "three") == twice
    assert merge_section(once, "one\ntwo") == once
    if "\r\n" in text:
        assert "\n" not in twice.replace("\r\n", "")


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_damaged_markers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="by hand"):
        merge_section(text, "x")


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


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\n", "\n\n  \n", "\ufeff", "\ufeff\n", " \t\n", "  "])
@pytest.mark.parametrize("after", ["# Net\n", "", "\n---\n\nA rule above\n"])
@needs("huggingface-hub", "1", "it reads fewer forms of metadata")
def test_metadata_is_what_the_client_reads_as_metadata(
    tmp_path: Path, before: str, line_end: str, after: str
) -> None:
    text = f"{before}---\nlicense: mit # mine\ntags:\n- a\n--- \n{after}".replace("\n", line_end)
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())
    assert metadata_of(text) == ModelCard.load(path).data.to_dict() == {"license": "mit", "tags": ["a"]}
    changed = set_metadata(text, "tags", ["b"])
    assert changed == text.replace("- a", "- b")
    more = set_metadata(changed, "new", 1)
    assert more == changed.replace(f"- b{line_end}", f"- b{line_end}new: 1{line_end}")
    path.write_bytes(more.encode())
    assert ModelCard.load(path).data.to_dict() == {"license": "mit", "tags": ["b"], "new": 1}


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
