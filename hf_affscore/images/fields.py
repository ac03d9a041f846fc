"""The fields of the examples of archives: which of them are images, and which image of an example is which field.

Image fields are told apart by their names without the image extension: ``jpg`` and ``PNG`` are one field,
``mask.png`` is another.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from hf_affscore.images.annotations import names_annotation
from hf_affscore.images.values import IMAGE_ENDINGS
from hf_affscore.sources import file_name


class Place(NamedTuple):
    """A file in an archive: its position, its content if it has been read, or a description of the damage."""

    archive: str
    name: str
    start: int = 0
    size: int = 0
    content: bytes | None = None
    damage: str | None = None


Group = dict[str, Place]


class EmptyArchive(ValueError):
    """An archive holds no images."""


def is_image(name: str) -> bool:
    """Whether a field of an example, the part of a file's name after its first dot, is an image."""
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS


@dataclass(frozen=True)
class Fields:
    """The image fields of examples.

    Attributes:
        names: Their names, in order of appearance.
        alone: Whether no example has two images, besides annotations such as masks: all other fields are one then.
    """

    names: tuple[str, ...]
    alone: bool

    @classmethod
    def of(cls, groups: Iterable[Group], path: str) -> Fields:
        """The fields of some examples.

        Raises:
            EmptyArchive: There are none.
        """
        names: dict[str, str] = {}
        several = False
        for group in groups:
            images = [name for name in group if is_image(name)]
            several |= sum(not annotates(name) for name in images) > 1
            for name in images:
                names.setdefault(_field(name), name)
        if not names:
            raise EmptyArchive(
                f"the archive {file_name(path)} holds no example with an image, as in 0001.jpg"
            )
        if several:
            return cls(tuple(names.values()), False)
        plain = [name for name in names.values() if not annotates(name)]
        return cls((*plain[:1], *(name for name in names.values() if annotates(name))), True)

    def place(self, group: Group, name: str) -> Place | None:
        """The image of an example in one field."""
        anyone = self.alone and not annotates(name)
        for other in filter(is_image, group):
            if _field(other) == _field(name) or (anyone and not annotates(other)):
                return group[other]
        return None


@functools.cache
def _field(name: str) -> str:
    """The name of a field without the image extension."""
    return name.rpartition(".")[0]


@functools.cache
def annotates(name: str) -> bool:
    """Whether a field holds masks or other annotations, by its name."""
    return names_annotation(_field(name))
