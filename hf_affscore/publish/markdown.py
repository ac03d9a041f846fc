"""Text for cards: names from outside are escaped, and what others wrote is kept.

Cards are Markdown with HTML allowed in it and YAML on top; a model's name may hold all three. Text from
outside goes through :func:`escape` or :func:`repository_link`; nothing else is interpolated.
"""

from __future__ import annotations

import contextlib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import yaml

from hf_affscore.errors import InputError
from hf_affscore.hub import is_repo_id

BEGIN = "<!-- hf-affscore: begin (what stands between these two lines is replaced by the next update) -->"
END = "<!-- hf-affscore: end -->"

_HARMLESS = " ./-,…"
_BARS = "▁▂▃▄▅▆▇█"

#: What GitHub or the Hub makes a link of although it has no Markdown in it is cut after these matches: www. at the
#: beginning of an address, an issue (GH-1), and the signs of https://, users, e-mail addresses, issues (#1), emoji
#: and formulas.
_LINKING = re.compile(r"www(?=\.)|\bgh-(?=\d)|[:@#$](?=\S)|/(?=/)", re.IGNORECASE)
_HASH = re.compile(r"\b[0-9a-f]{7,}\b", re.IGNORECASE)  # at least seven digits are a link to a commit
_CUT = "&#8203;"  # a space of no width


def escape(text: object, limit: int = 120) -> str:
    """Text from outside on one line, without Markdown, HTML, links or control characters.

    Everything but letters, digits and a few signs becomes a character reference, which Markdown shows and never
    interprets. What would become a link all the same is cut by a space of no width.

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
    """Text in which nothing becomes a link by itself; its Markdown and HTML are as they were."""
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
    """A name, as a link to its repository where it can be one: a Hub id with a commit.

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
    """A commit or a checksum as it can be copied; in code it is no link.

    Example:
        >>> commit_name("sha256:0123abcd"), commit_name(None)
        ('`sha256:0123abcd`', '-')
    """
    if revision is None:
        return "-"
    return f"`{revision}`" if re.fullmatch(r"[\w:.-]{1,80}", revision, re.ASCII) else escape(revision)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table of cells that are Markdown already; ``right`` are the columns set to the right.

    Example:
        >>> print(table(["a", "b"], [["x", "1"]], right=[1]))
        | a | b |
        | --- | ---: |
        | x | 1 |
    """
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def number(value: float | None) -> str:
    """A score as cards show it.

    Example:
        >>> number(0.98765), number(None)
        ('0.988', '-')
    """
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def bars(scores: Sequence[float | None], width: int = 32) -> str:
    """Scores between 0 and 1 as a row of bars, one each, or the mean of neighbours where there are many.

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
    r"""Put ``section`` between its markers: in place of the last one, or at the end; nothing else changes.

    Args:
        text: A card, or nothing.
        section: Markdown without the markers, with newlines as ``\n``.

    Raises:
        InputError: The card has a begin marker without an end marker, the reverse, or more than one pair.

    Example:
        >>> merge_section(merge_section("# Net\n", "one"), "two").count("one")
        0
    """
    line_end = "\r\n" if "\r\n" in text else "\n"
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


@dataclass(frozen=True)
class FrontMatter:
    """A card in four parts, which are the card when they are joined."""

    opening: str
    yaml: str
    closing: str
    text: str

    @classmethod
    def of(cls, card: str) -> Self | None:
        """The parts of a card that has metadata, by the pattern of the Hub and of its client.

        White space may come before the first line of dashes, and a byte order mark before all, which the client
        drops when it reads a file.
        """
        from huggingface_hub.repocard import REGEX_YAML_BLOCK

        mark = "\ufeff" * card.startswith("\ufeff")
        match = REGEX_YAML_BLOCK.match(card.removeprefix(mark)) or _EMPTY.match(card.removeprefix(mark))
        if match is None:
            return None
        return cls(mark + match[1], match[2], match[3], card.removeprefix(mark)[match.end() :])


#: A block without a line, to which the pattern of the client is blind.
_EMPTY = re.compile(r"^(\s*---(?:\r\n|\r|\n))()(---[ \t]*(?:\r\n|\n|$))")


def metadata_of(card: str) -> dict[str, Any]:
    """The metadata on top of a card; empty where there is none.

    Raises:
        InputError: There is a block, but it is no YAML mapping.
    """
    parts = FrontMatter.of(card)
    try:
        data = yaml.safe_load(parts.yaml) if parts else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise InputError(
            f"The metadata on top of the card is not YAML: {_fault(error)}. Repair it first."
        ) from error
    if data is not None and not isinstance(data, dict):
        raise InputError(
            "The metadata on top of the card is not a mapping of names to values. Repair it first."
        )
    return data or {}


def _fault(error: Exception) -> str:
    """What is wrong with YAML, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1} of it)"
    return " ".join(str(error).split())


def set_metadata(card: str, key: str, value: Any) -> str:
    r"""Set one top-level key of a card's metadata; every other line keeps its bytes, comments too.

    Raises:
        InputError: The metadata is not YAML, or is written so that the key cannot be replaced alone.

    Example:
        >>> set_metadata("---\nlicense: mit  # mine\n---\n# Net\n", "tags", ["vision"])
        '---\nlicense: mit  # mine\ntags:\n- vision\n---\n# Net\n'
    """
    before = metadata_of(card)
    if key in before and before[key] == value:
        return card
    line_end = "\r\n" if "\r\n" in card else "\n"
    lines = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=1000)
    block = lines.replace("\n", line_end)
    parts = FrontMatter.of(card)
    if parts is None:
        mark = "\ufeff" * card.startswith("\ufeff")  # it stays first
        return f"{mark}---{line_end}{block}---{line_end}{line_end if card else ''}{card.removeprefix(mark)}"
    closing = parts.closing.lstrip("\r\n")  # the line end before the dashes belongs to the last key
    inside = parts.yaml + parts.closing[: len(parts.closing) - len(closing)]
    inside = _key(key).sub(lambda _: block, inside, count=1) if key in before else inside + block
    changed = parts.opening + inside + closing + parts.text
    with contextlib.suppress(InputError):  # another key may need an anchor that stood in this one
        if metadata_of(changed) == {**before, key: value}:
            return changed
    raise InputError(
        f"The metadata on top of the card is written so that {key!r} cannot be changed alone. Set it by hand."
    )


def _key(name: str) -> re.Pattern[str]:
    """A top-level key with its value; blank lines and comments behind it belong to what follows."""
    name = re.escape(name)
    empty = r"[ \t]*(?:#[^\n]*)?\r?\n"
    return re.compile(
        rf"^(?:{name}|\"{name}\"|'{name}')[ \t]*:[^\n]*\n(?:(?:{empty})*(?:[ \t]+[^\s#]|-)[^\n]*\n)*",
        re.MULTILINE,
    )
