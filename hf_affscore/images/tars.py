"""WebDataset: tar archives in which the files of one example share their name up to its first dot.

The headers of a local archive are read once and give the position of every file; a remote archive is read
sequentially. Entries that are not files, and files without an extension, are ignored. A damaged part of an archive
counts as one image that cannot be decoded, and reading continues at the next readable file.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import numpy as np

from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.files import opened, size_of_file
from hf_affscore.images.values import IMAGE_ENDINGS
from hf_affscore.sources import POINTER, file_name, refuse_pointer

if TYPE_CHECKING:
    import datasets

#: Examples whose fields are inspected.
LOOKED_AT = 5

#: Bytes per read of a remote archive.
CHUNK = 1 << 20


class _Place(NamedTuple):
    """A file in an archive: its position, its content if it has been read, or a description of the damage."""

    archive: str
    name: str
    start: int = 0
    size: int = 0
    content: bytes | None = None
    damage: str | None = None


_Group = dict[str, _Place]


def is_image(name: str) -> bool:
    """Whether a field of an example, the part of a file's name after its first dot, is an image."""
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS


def _places(raw: BinaryIO, path: str, *, read: bool) -> Iterator[_Place]:
    """The files of an archive, with the content of images if ``read``; a damaged part has no name."""
    end, name, damaged = 0, "", [False]
    mode: Any = "r|*" if read else "r:"

    class Header(tarfile.TarInfo):
        """Distinguishes damage from the zeros that end an archive; tarfile skips both."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            try:
                return super().frombuf(buf, encoding, errors)
            except tarfile.InvalidHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
                damaged[0] = True
                raise

    try:
        archive = tarfile.open(fileobj=raw, mode=mode, bufsize=CHUNK, ignore_zeros=True, tarinfo=Header)  # noqa: SIM115
        for header in archive:
            if damaged[0]:
                yield _damage(path, f"is damaged at byte {end}")
            damaged[0] = False
            end = header.offset_data + -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            if header.isfile():
                name = header.name
                file = archive.extractfile(header) if read and is_image(name) else None
                content = file.read() if file else None
                yield _Place(path, name, header.offset_data, header.size, content)
        if damaged[0]:
            yield _damage(path, f"is damaged at byte {end}")
    except (tarfile.TarError, EOFError) as error:
        if read or end <= os.path.getsize(path):  # else the last file is truncated and will fail to decode
            yield _damage(path, f"ends early: {error}", name if read else "")


def _damage(path: str, what: str, name: str = "") -> _Place:
    return _Place(path, name, damage=f"the archive {file_name(path)} {what}")


def _groups(places: Iterable[_Place]) -> Iterator[_Group]:
    """The files of each example by field; a repeated field begins another example."""
    group: _Group = {}
    last = None
    for place in places:
        parts = re.fullmatch(r"((?:.*/|)[^./][^.]*)\.([^/]+)", place.name)
        if parts is None and place.damage is None:
            continue
        key, name = parts.groups() if parts else (None, "")
        if group and (key != last or name in group):
            yield group
            group = {}
        last = key
        group[name] = place
    if group:
        yield group


def _image_fields(groups: Sequence[_Group], path: str) -> tuple[tuple[str, ...], bool]:
    """The image fields of some examples, and whether every example has at most one image.

    If so, only the first name is returned, and it stands for any image field.

    Raises:
        ValueError: There is no image field.
    """
    found = [[name for name in group if is_image(name)] for group in groups]
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
    if not names:
        raise ValueError(
            f"the archive {file_name(path)} does not begin with an example that has an image, as in 0001.jpg"
        )
    alone = max(map(len, found)) == 1
    return names[:1] if alone else names, alone


@dataclass(frozen=True)
class Tars:
    """The examples of some archives, in order.

    Attributes:
        archives: Paths or addresses.
        split: Name of the split.
        token: Access token for the Hub.
        fields: The image fields, or the requested one.
        alone: Whether no example has two images, so that the name of the field does not matter.
    """

    archives: tuple[str, ...]
    split: str
    token: str | bool | None
    fields: tuple[str, ...] = ()
    alone: bool = True

    @property
    def features(self) -> datasets.Features:
        """The image fields."""
        import datasets

        return datasets.Features({name: datasets.Image(decode=False) for name in self.fields})

    def select_columns(self, names: list[str]) -> Self:
        """The same examples with one of the fields."""
        return replace(self, fields=tuple(names))

    def cast_column(self, name: str, feature: Any) -> Self:
        """The same object, since its images are encoded."""
        return self

    def _chosen(self, group: _Group) -> dict[str, _Place | None]:
        """The positions of an example's images; a damaged part is returned for every field."""
        damaged = next((place for place in group.values() if place.damage), None)
        anyone = next((group[name] for name in group if is_image(name)), None) if self.alone else None
        return {name: damaged or group.get(name, anyone) for name in self.fields}


@dataclass(frozen=True)
class TarRows(Tars):
    """Local archives; examples are read by number."""

    groups: Sequence[_Group] = ()

    @classmethod
    def open(cls, archives: Sequence[str], split: str) -> TarRows:
        """Read the headers of some archives.

        Raises:
            ValueError: There is no image in them.
        """
        groups: list[_Group] = []
        for path in archives:
            with open(path, "rb") as raw:
                refuse_pointer(path, raw.read(POINTER))
                raw.seek(0)
                groups += _groups(_places(raw, path, read=False))
        fields, alone = _image_fields(groups[:LOOKED_AT], archives[0])
        return cls(tuple(archives), split, None, fields, alone, groups)

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {name: _read(place) for name, place in self._chosen(self.groups[number]).items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def part(self, start: int, stop: int | None) -> TarRows:
        """Examples ``start`` to ``stop``."""
        return replace(self, groups=self.groups[start:stop])


def _read(place: _Place | None) -> Any:
    if place is None:
        return None
    if place.damage is not None:
        return Undecodable(place.damage)
    if place.content is not None:
        return {"path": place.name, "bytes": place.content}
    with open(place.archive, "rb") as file:
        file.seek(place.start)
        return {"path": place.name, "bytes": file.read(place.size)}


@dataclass(frozen=True)
class TarStream(Tars):
    """Remote archives, read from the beginning at each iteration."""

    start: int = 0
    stop: int | None = None

    @classmethod
    def open(cls, archives: Sequence[str], split: str, token: str | bool | None) -> TarStream:
        """Inspect the first examples.

        Raises:
            ValueError: There is no image in them.
        """
        stream = cls(tuple(archives), split, token)
        fields, alone = _image_fields(list(itertools.islice(stream._all(), LOOKED_AT)), archives[0])
        return replace(stream, fields=fields, alone=alone)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for group in itertools.islice(self._all(), self.start, self.stop):
            yield {name: _read(place) for name, place in self._chosen(group).items()}

    def _all(self) -> Iterator[_Group]:
        for path in self.archives:
            with opened(path, self.token, whole=True) as raw:
                yield from _groups(_places(raw, path, read=True))

    def part(self, start: int, stop: int | None) -> TarStream:
        """Examples ``start`` to ``stop``."""
        return replace(self, start=start, stop=stop)

    def shuffled(self, seed: int, limit: int) -> TarStream:
        """The same archives in random order, unless their total size is at most ``limit`` bytes."""
        if sum(size_of_file(path, self.token) for path in self.archives) <= limit:
            return self
        order = np.random.default_rng(seed).permutation(len(self.archives))
        return replace(self, archives=tuple(self.archives[number] for number in order))
