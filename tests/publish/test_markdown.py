"""Text for cards: nothing from outside is interpreted, nothing of others is touched."""

from __future__ import annotations

import math
import re
from html import unescape

import pytest
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
    repository_link,
    table,
)

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
