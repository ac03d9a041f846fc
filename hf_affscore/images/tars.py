"""WebDataset: tar archives in which the files of one example share their name up to its first dot.

The headers of a local archive are read once and give the position of every file; a remote or compressed archive is
read sequentially. Entries that are not files, hidden files, and files without an extension are ignored. A damaged
part of an archive counts as one image that cannot be decoded, and reading continues at the next readable file.

All examples of local archives are inspected for their fields, and the first of others.
"""

from __future__ import annotations

import itertools
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from hf_affscore.errors import DatasetError
from hf_affscore.images.annotations import annotation_files
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.fields import Fields, Group, Place, annotates, is_image
from hf_affscore.images.files import opened, size_of_file
from hf_affscore.images.layouts import is_hidden, warn_of_unused
from hf_affscore.sources import POINTER, file_name, refuse_pointer

if TYPE_CHECKING:
    import datasets

#: Examples of a remote or compressed archive whose fields are inspected, and bytes in which one must have an image.
LOOKED_AT = 32
SEARCHED = 64_000_000

#: The first bytes of compressed files: gzip, bzip2, xz.
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")

#: Bytes per read of a remote archive.
CHUNK = 1 << 20


def _places(raw: BinaryIO, path: str, *, read: bool) -> Iterator[Place]:
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
                yield Place(path, name, header.offset_data, header.size, content)
        if damaged[0]:
            yield _damage(path, f"is damaged at byte {end}")
    except (tarfile.TarError, EOFError) as error:
        if read or end <= os.path.getsize(path):  # else the last file is truncated and will fail to decode
            yield _damage(path, f"ends early: {error}", name if read else "")


def _damage(path: str, what: str, name: str = "") -> Place:
    return Place(path, name, damage=f"the archive {file_name(path)} {what}")


def _groups(places: Iterable[Place]) -> Iterator[Group]:
    """The files of each example by field; a repeated field begins another example."""
    group: Group = {}
    last = None
    for place in places:
        parts = re.fullmatch(r"((?:.*/|)[^./][^.]*)\.([^/]+)", place.name)
        if parts is not None and any(map(is_hidden, place.name.removeprefix("./").split("/"))):
            continue
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


@dataclass(frozen=True)
class Tars:
    """The examples of some archives, in order.

    Attributes:
        archives: Paths or addresses.
        split: Name of the split.
        token: Access token for the Hub.
        fields: The image fields.
        columns: The fields that are read.
    """

    archives: tuple[str, ...]
    split: str
    token: str | bool | None
    fields: Fields = Fields((), True)
    columns: tuple[str, ...] = ()

    @property
    def features(self) -> datasets.Features:
        """The image fields."""
        import datasets

        return datasets.Features({name: datasets.Image(decode=False) for name in self.columns})

    def select_columns(self, names: list[str]) -> Self:
        """The same examples with one of the fields."""
        return replace(self, columns=tuple(names))

    def cast_column(self, name: str, feature: Any) -> Self:
        """The same object, since its images are encoded."""
        return self

    def _chosen(self, group: Group) -> dict[str, Place | None]:
        """The positions of an example's images; a damaged part is returned for every field."""
        damaged = next((place for place in group.values() if place.damage), None)
        return {name: damaged or self.fields.place(group, name) for name in self.columns}


@dataclass(frozen=True)
class TarRows(Tars):
    """Local archives; examples are read by number."""

    groups: Sequence[Group] = ()

    @classmethod
    def open(cls, archives: Sequence[str], split: str) -> TarRows:
        """Read the headers of some archives.

        Raises:
            EmptyArchive: There is no image in them.
        """
        groups: list[Group] = []
        for path in archives:
            with open(path, "rb") as raw:
                refuse_pointer(path, raw.read(POINTER))
                raw.seek(0)
                groups += _groups(_places(raw, path, read=False))
        fields = Fields.of(groups, archives[0])
        return cls(
            tuple(archives), split, None, fields, fields.names, _without_annotations(groups, archives[0])
        )

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {name: _read(place) for name, place in self._chosen(self.groups[number]).items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(len(self)))

    def part(self, start: int, stop: int | None) -> TarRows:
        """Examples ``start`` to ``stop``."""
        return replace(self, groups=self.groups[start:stop])


def _without_annotations(groups: list[Group], path: str) -> list[Group]:
    """The examples without those whose images are all masks or labels of others, by folder or file name."""
    images = [
        [place.name for name, place in group.items() if is_image(name) and not annotates(name)]
        for group in groups
    ]
    found = annotation_files(list(itertools.chain.from_iterable(images)))
    used = [
        group for group, names in zip(groups, images, strict=True) if not names or not found.issuperset(names)
    ]
    warn_of_unused(file_name(path), sorted(found), sum(map(len, images)))
    return used


def is_compressed(path: str) -> bool:
    """Whether a local archive is compressed, so that it can only be read from its beginning."""
    with open(path, "rb") as file:
        return file.read(8).startswith(COMPRESSED)


def _read(place: Place | None) -> Any:
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
    """Remote or compressed archives, read from the beginning at each iteration."""

    start: int = 0
    stop: int | None = None

    @classmethod
    def open(cls, archives: Sequence[str], split: str, token: str | bool | None) -> TarStream:
        """Inspect the first examples.

        Raises:
            EmptyArchive: The first of them do not have an image.
        """
        stream = cls(tuple(archives), split, token)
        fields = Fields.of(itertools.islice(stream._first(), LOOKED_AT), archives[0])
        return replace(stream, fields=fields, columns=fields.names)

    def _first(self) -> Iterator[Group]:
        """The first examples that have an image, if there is one in the first :data:`SEARCHED` bytes."""
        begun = False
        for group in self._all():
            if any(map(is_image, group)):
                begun = True
                yield group
            elif not begun and max(place.start for place in group.values()) > SEARCHED:
                return

    def __iter__(self) -> Iterator[dict[str, Any]]:
        number = -1
        for number, group in enumerate(itertools.islice(self._all(), self.stop)):
            if number >= self.start:
                yield {name: _read(place) for name, place in self._chosen(group).items()}
        if number < self.start:
            raise DatasetError(
                f"The split {self.split!r} has {number + 1} images; the part asked for begins after the last."
            )

    def _all(self) -> Iterator[Group]:
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
