"""The metadata on top of a card: read as the Hub's client reads it, changed one key at a time, byte by byte."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any, Self

import yaml

from hf_affscore.errors import InputError
from hf_affscore.publish.markdown import line_end_of


@dataclass(frozen=True)
class FrontMatter:
    """A card in four parts; joined, they are the card."""

    opening: str
    yaml: str
    closing: str
    text: str

    @classmethod
    def of(cls, card: str) -> Self | None:
        """The parts of a card with metadata; None without metadata.

        A byte order mark may precede everything; the client drops it when it reads a file.
        """
        mark = "\ufeff" * card.startswith("\ufeff")
        match = _FRONT.match(card.removeprefix(mark))
        if match is None:
            return None
        return cls(mark + match[1], match[2], match[3], card.removeprefix(mark)[match.end() :])


#: Metadata as the Hub reads it, and its client since huggingface-hub 1.25, which a test compares. White space may
#: precede the first line of dashes, and follow the last. A block may be empty, which the client takes for none.
_FRONT = re.compile(r"(\s*---(?:\r\n|\r|\n))([\S\s]*?(?:\r\n|\r|\n)|)(---[ \t]*(?:\r\n|\n|$))")


def metadata_of(card: str) -> dict[str, Any]:
    """The metadata at the top of a card; empty if there is none.

    Raises:
        InputError: The metadata is not a YAML mapping.
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
    """The error in YAML, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1} of it)"
    return " ".join(str(error).split())


def set_metadata(card: str, key: str, value: Any) -> str:
    r"""Set one top-level key of a card's metadata; all other lines, including comments, keep their bytes.

    Raises:
        InputError: The metadata is not YAML, or the key cannot be replaced without changing others.

    Example:
        >>> set_metadata("---\nlicense: mit  # mine\n---\n# Net\n", "tags", ["vision"])
        '---\nlicense: mit  # mine\ntags:\n- vision\n---\n# Net\n'
    """
    before = metadata_of(card)
    if key in before and before[key] == value:
        return card
    line_end = line_end_of(card)
    parts = FrontMatter.of(card)
    if parts is None:
        mark = "\ufeff" * card.startswith("\ufeff")  # stays at the beginning
        block = _block(key, value, "", line_end)
        return f"{mark}---{line_end}{block}---{line_end}{line_end if card else ''}{card.removeprefix(mark)}"
    inside = parts.yaml
    found = _key(key).search(inside) if key in before else None
    start, stop = found.span() if found else (len(inside), len(inside))
    inside = inside[:start] + _block(key, value, inside[start:stop], line_end) + inside[stop:]
    changed = parts.opening + inside + parts.closing + parts.text
    with contextlib.suppress(InputError):  # another key may refer to an anchor in this one
        if metadata_of(changed) == {**before, key: value}:
            return changed
    raise InputError(
        f"The metadata on top of the card is written so that {key!r} cannot be changed alone. Set it by hand."
    )


def _key(name: str) -> re.Pattern[str]:
    """A pattern for a top-level key with its value; blank lines and comments after it belong to the next key."""
    name = re.escape(name)
    empty = r"[ \t]*(?:#[^\n]*)?\r?\n"
    return re.compile(
        rf"^(?:{name}|\"{name}\"|'{name}')[ \t]*:[^\n]*\n(?:(?:{empty})*(?:[ \t]+[^\s#]|-)[^\n]*\n)*",
        re.MULTILINE,
    )


def _block(key: str, value: Any, old: str, line_end: str) -> str:
    """A key and its value as lines; what of the value was in the ``old`` lines is written as it was there.

    YAML is read in two ways: to the Hub ``no`` is a word and ``1e-3`` a number, to PyYAML False and a text.
    Comments that stood among the old lines come before the key.
    """
    made = yaml.SafeDumper("", sort_keys=False).represent_data({key: value})
    with contextlib.suppress(yaml.YAMLError):  # it may refer to an anchor outside
        made = _written_as(made, yaml.compose(old, Loader=yaml.SafeLoader))
    lines: str = yaml.serialize(made, Dumper=yaml.SafeDumper, allow_unicode=True, width=1000)
    comments = "".join(f"{comment}\n" for comment in _comments(old))
    return (comments + lines).replace("\n", line_end)


def _written_as(new: yaml.Node, old: yaml.Node | None) -> yaml.Node:
    """The new node, with those parts of the old one that have the same value."""
    if old is None or _value(new) == _value(old):
        return old or new
    if isinstance(new, yaml.SequenceNode) and isinstance(old, yaml.SequenceNode):
        by_value = {_value(item): item for item in old.value}
        by_place = [*old.value, *[None] * len(new.value)]
        new.value = [
            by_value.get(_value(item)) or _written_as(item, before)
            for item, before in zip(new.value, by_place, strict=False)
        ]
    elif isinstance(new, yaml.MappingNode) and isinstance(old, yaml.MappingNode):
        by_key = {_value(key): (key, item) for key, item in old.value}
        new.value = [
            (by_key[_value(key)][0], _written_as(item, by_key[_value(key)][1]))
            if _value(key) in by_key
            else (key, item)
            for key, item in new.value
        ]
    return new


def _value(node: yaml.Node) -> str:
    """What a node stands for, so that equal ones are equal: True is not 1."""
    return repr(yaml.SafeLoader("").construct_document(node))


def _comments(block: str) -> list[str]:
    """The comments in a piece of YAML: what stands between its tokens."""
    found, end = [], 0
    for token in yaml.scan(block, Loader=yaml.SafeLoader):
        between = block[end : token.start_mark.index].splitlines()
        found += [line[line.index("#") :].rstrip() for line in between if "#" in line]
        end = token.end_mark.index
    return found
