"""Text for cards: text from outside is escaped, and content by others is kept.

Cards are Markdown, which may contain HTML, with YAML at the top; a model's name may contain all three. Text from
outside passes through :func:`escape` or :func:`repository_link`; no other text from outside is inserted.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from hf_affscore.errors import InputError
from hf_affscore.hub import is_repo_id

BEGIN = "<!-- hf-affscore: begin (what stands between these two lines is replaced by the next update) -->"
END = "<!-- hf-affscore: end -->"

_HARMLESS = " ./-,…"
_BARS = "▁▂▃▄▅▆▇█"

#: GitHub and the Hub make links of some plain text. Such text is split after these matches: www. at the beginning
#: of an address, an issue (GH-1), and the characters that mark https://, users, e-mail addresses, issues (#1),
#: emoji and formulas.
_LINKING = re.compile(r"www(?=\.)|\bgh-(?=\d)|[:@#$](?=\S)|/(?=/)", re.IGNORECASE)
_HASH = re.compile(r"\b[0-9a-f]{7,}\b", re.IGNORECASE)  # seven or more digits become a link to a commit
_CUT = "&#8203;"  # a zero-width space


def escape(text: object, limit: int = 120) -> str:
    """Text from outside on one line, without Markdown, HTML, links or control characters.

    Everything but letters, digits and a few signs becomes a character reference, which Markdown shows but does not
    interpret. Text that would still become a link is split by a zero-width space.

    Example:
        >>> escape("a|b <script>")
        'a&#124;b &#60;script&#62;'
        >>> escape("user/my_net-50, v1.5")
        'user/my_net-50, v1.5'
        >>> escape("www.example.org")
        'www&#8203;.example.org'
    """
    line = " ".join(re.sub("[\0\1]", "\N{REPLACEMENT CHARACTER}", str(text)).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = re.sub(r"(?<=[^\W_])_(?=[^\W_])", "\0", line)  # between letters it means nothing
    kept = {"\0": "_", "\1": _CUT}
    return "".join(kept.get(character) or _harmless(character) for character in _cut(line, "\1"))


def unlinked(text: str) -> str:
    """Text in which nothing becomes a link automatically; its Markdown and HTML are unchanged."""
    return _cut(text, _CUT)


def _cut(text: str, sign: str) -> str:
    text = _LINKING.sub(rf"\g<0>{sign}", text)
    return _HASH.sub(lambda found: re.sub(".{6}(?=.)", rf"\g<0>{sign}", found[0]), text)


def _harmless(character: str) -> str:
    if character.isalnum() or character in _HARMLESS:
        return character
    if unicodedata.category(character).startswith("C"):  # controls, and marks that reverse what follows
        return "\N{REPLACEMENT CHARACTER}"
    return f"&#{ord(character)};"


def repository_link(name: str | None, revision: str | None, prefix: str = "") -> str:
    """A name, as a link to its repository if it is a Hub id with a commit.

    Example:
        >>> repository_link("user/net", "0123456789012345678901234567890123456789")
        '[user/net](https://huggingface.co/user/net)'
        >>> repository_link("my net", None)
        'my net'
    """
    if is_repo_id(name) and re.fullmatch("[0-9a-f]{40}", revision or ""):
        return f"[{escape(name)}](https://huggingface.co/{prefix}{name})"
    return escape(name or "unnamed")


def commit_name(revision: str | None) -> str:
    """A commit or a checksum as inline code, which can be copied and does not become a link.

    Example:
        >>> commit_name("sha256:0123abcd"), commit_name(None)
        ('`sha256:0123abcd`', '-')
    """
    if revision is None:
        return "-"
    return f"`{revision}`" if re.fullmatch(r"[\w:.-]{1,80}", revision, re.ASCII) else escape(revision)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table of cells in Markdown; ``right`` lists the columns that are aligned to the right.

    Example:
        >>> print(table(["a", "b"], [["x", "1"]], right=[1]))
        | a | b |
        | --- | ---: |
        | x | 1 |
    """
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def number(value: float | None) -> str:
    """A score as text with three decimals, or a dash.

    Example:
        >>> number(0.98765), number(None)
        ('0.988', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def bars(scores: Sequence[float | None], width: int = 32) -> str:
    """Scores between 0 and 1 as a row of bars: one bar per score, or per group of neighbours if there are many.

    Example:
        >>> bars([0.0, 0.5, 1.0, None])
        '▁▅█·'
    """
    groups = max(1, math.ceil(len(scores) / width))
    shown = []
    for start in range(0, len(scores), groups):
        defined = [s for s in scores[start : start + groups] if s is not None and not math.isnan(s)]
        mean = min(max(sum(defined) / len(defined), 0.0), 1.0) if defined else None
        shown.append("·" if mean is None else _BARS[min(int(mean * len(_BARS)), len(_BARS) - 1)])
    return "".join(shown)


def merge_section(text: str, section: str) -> str:
    r"""Put ``section`` between its markers, in place of the previous one or at the end; nothing else changes.

    Args:
        text: A card, or an empty text.
        section: Markdown without the markers, with newlines as ``\n``.

    Raises:
        InputError: The card has a begin marker without an end marker, the reverse, or more than one pair.

    Example:
        >>> merge_section(merge_section("# Net\n", "one"), "two").count("one")
        0
    """
    line_end = line_end_of(text)
    marked = f"{BEGIN}\n{section.strip()}\n{END}".replace("\n", line_end)
    begins, ends = text.count(BEGIN), text.count(END)
    if (begins, ends) == (0, 0):
        gap = "" if not text else line_end if text.endswith("\n") else 2 * line_end
        return f"{text}{gap}{marked}{line_end}"
    start, stop = text.find(BEGIN), text.find(END)
    if (begins, ends) != (1, 1) or stop < start:
        raise InputError(
            f"The card has {begins} begin and {ends} end markers of a section by hf-affscore; expected one of "
            "each, in this order. Remove the section by hand, then update again."
        )
    return text[:start] + marked + text[stop + len(END) :]


def line_end_of(text: str) -> str:
    """How lines end in a card. A card that was cut within a line end would get the other half of it."""
    return "\r\n" if "\r\n" in text or text.endswith("\r") else "\n"
