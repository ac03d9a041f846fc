"""Decide which files of a folder or repository are its images or tables, and their splits.

- Images, Parquet and Arrow files and tar archives are recognised by extension, case-insensitively. Hidden files and
  files in hidden folders (``.git``, ``__MACOSX``) are ignored. Links to folders are followed, cycles are not.
- Other files are ignored, such as labels of YOLO, COCO and VOC, tables and texts. Configurations in the card and
  lists of images (:mod:`hf_affscore.images.listed`) are not handled here.
- Masks and labels stored as images are left out (:mod:`hf_affscore.images.annotations`).
- Folders are splits if their names contain a split word of ``datasets`` (``train``, ``val2017``, ``seg_test``), in
  any case, and agree in the rest, apart from digits and words such as "images": all of them, or those of train and
  of another split. ``steam-train`` and ``test-bench`` are classes, and so is a folder ``train`` beside ``boat``. If
  no folder is a split, file names define the splits in the same way.

A warning states how many files are left out.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hf_affscore.errors import warn
from hf_affscore.images.annotations import IMAGES, SPLITS, annotation_files
from hf_affscore.images.values import IMAGE_ENDINGS, ending

#: Extensions of files that hold many images, and the format of each.
TABLES = {
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **dict.fromkeys(("arrow", "feather", "ipc"), "arrow"),
    **dict.fromkeys(("tar", "tgz", "tar.gz", "tar.bz2", "tar.xz"), "tar"),
    "zip": "zip",
}

_WORD = re.compile(rf"(?:^|(?<=[-._ 0-9]))({'|'.join(SPLITS)})(?=$|[-._ 0-9])", re.IGNORECASE)

#: The names of parts of a split, as ``Dataset.push_to_hub`` writes them.
_SHARD = re.compile(r"(.+)-\d{5,}-of-\d{5,}\.[^/]+")


@dataclass(frozen=True)
class Layout:
    """The files of a data set.

    Attributes:
        form: ``"image"``, ``"parquet"``, ``"arrow"`` or ``"tar"``; ``"zip"`` files are not used beside these.
        splits: The names of the files by split, in the order given; relative to the data set, with ``/``.
        unused: Names of other images, tables and archives.
    """

    form: str
    splits: dict[str, list[str]]
    unused: list[str]

    @property
    def total(self) -> int:
        """Number of files that are used."""
        return sum(map(len, self.splits.values()))


class _Place(NamedTuple):
    """A name with a split word: its folder, the rest of its name, and the split."""

    folder: str
    otherwise: tuple[str, ...]
    split: str


def form_of(name: str) -> str | None:
    """The form of images in a file, by its name; None for another file.

    Example:
        >>> form_of("a/CAT.JPG"), form_of("train.tar.gz"), form_of("TRAIN.PARQUET"), form_of("labels.txt")
        ('image', 'tar', 'parquet', None)
    """
    last = ending(name)
    packed = last in ("gz", "bz2", "xz") and name.lower().endswith(f".tar.{last}")
    return "image" if last in IMAGE_ENDINGS else TABLES.get(f"tar.{last}" if packed else last)


def layout_of(names: Collection[str], *, images: bool = False) -> Layout | None:
    """The layout of the files of a data set; None if there are no images, tables or archives, except zip files.

    Args:
        names: Names of all files, relative to the data set, with ``/``.
        images: Whether to use image files even if there are tables or archives.
    """
    by_form: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if (form := form_of(name)) is not None:
            by_form[form].append(name)
    if by_form.keys() <= {"zip"}:  # read by datasets
        return None
    tables = [form for form in ("parquet", "arrow", "tar") if by_form[form]]
    form = (
        "image"
        if (images and by_form["image"]) or not tables
        else max(tables, key=lambda form: len(by_form[form]))
    )
    found = by_form.pop(form)
    unused = [name for others in by_form.values() for name in others]
    annotations = annotation_files(found) if form == "image" else set()
    used = [name for name in found if name not in annotations]
    splits, outside = _by_split(used or found, files=form != "image")
    return Layout(form, splits, [*unused, *sorted(annotations), *outside])


def warn_of_left(folder: str, form: str, used: int, unused: Sequence[str]) -> None:
    """Warn about the images, tables and archives of a folder that are left out.

    Args:
        folder: The data set.
        form: ``"image"`` if its images are files.
        used: Number of files that are used.
        unused: Names of the others.
    """
    images = [name for name in unused if form_of(name) == "image"]
    tables = [name for name in unused if form_of(name) != "image"]
    if form == "image":
        warn_of_unused(folder, images, used + len(images))
        return warn_of_unused(folder, tables, len(tables), "tables and archives")
    if images:  # not known before the rows of the tables are read, which may name files
        warn(
            f"{len(images)} image file(s) in {folder} lie beside tables or archives, which define the data set: "
            "only images that these hold or name are used. To use the files, pass a folder that holds only images."
        )
    return warn_of_unused(folder, tables, used + len(tables), "tables and archives")


def warn_of_unused(folder: str, unused: Iterable[str], found: int, what: str = "images") -> None:
    """Warn how many of the files ``found`` in a folder are not used, and where they are."""
    places = Counter(os.path.dirname(name) or "." for name in unused)
    if places:
        first = ", ".join(f"{number} in {place}" for place, number in places.most_common(5))
        more = ", ..." if len(places) > 5 else ""
        warn(
            f"{places.total()} of the {found} {what} in {folder} are not used: {first}{more}. "
            "To use all of them, pass a folder that holds nothing else, or a list of files."
        )


def files_below(folder: str) -> list[str]:
    """The names of all files below a folder that are not hidden, relative to it, with ``/``.

    Links to folders are followed, but no cycles.
    """
    return list(_below(folder, "", frozenset()))


def _below(folder: str, name: str, seen: frozenset[tuple[int, int]]) -> Iterator[str]:
    stat = os.stat(folder)
    here = (stat.st_dev, stat.st_ino)
    if here in seen:
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_hidden(entry.name):
                continue
            if entry.is_dir():
                yield from _below(entry.path, f"{name}{entry.name}/", seen | {here})
            elif entry.is_file() or entry.is_symlink():  # also a broken link: an unreadable image
                yield name + entry.name


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or written by a system: macOS into archives, a Synology disk, Windows."""
    return name.startswith((".", "__MACOSX", "@eaDir", "$RECYCLE.BIN"))


def _by_split(found: list[str], *, files: bool) -> tuple[dict[str, list[str]], list[str]]:
    """The files by split, and those outside the splits.

    Args:
        found: Names of files.
        files: Whether files without a split word in their names are outside the splits that others form.
    """
    shards = [_SHARD.fullmatch(name.rpartition("/")[2]) for name in found]
    if all(shards):
        return _grouped(found, [_split_of(shard[1]) for shard in shards if shard]), []
    folders = [_folder_place(name) for name in found]
    if _agree(folders):
        return _grouped(found, [place.split for place in folders if place]), []
    pairs = _pairs(folders)
    names = [_place(*os.path.split(os.path.splitext(name)[0])) for name in found]
    if not pairs and _agree(names):
        return _grouped(found, [place.split for place in names if place]), []
    places = folders if pairs else names
    pairs = pairs or (_pairs(names) if files else set())
    if not pairs:
        return {"train": found}, []
    splits = [place.split if place and place[:2] in pairs else None for place in places]
    outside = [name for name, split in zip(found, splits, strict=True) if split is None]
    return _grouped(found, splits), outside


def _grouped(names: list[str], splits: list[str | None] | list[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for name, split in zip(names, splits, strict=True):
        if split is not None:
            grouped[split].append(name)
    return dict(grouped)


def _split_of(name: str) -> str:
    return SPLITS.get(name.lower(), name)


def _folder_place(name: str) -> _Place | None:
    """The outermost folder of a file that has a split word in its name."""
    above = ""
    for own in name.split("/")[:-1]:
        if (place := _place(above, own)) is not None:
            return place
        above = f"{above}{own}/"
    return None


def _place(folder: str, name: str) -> _Place | None:
    """The split word in a name and the other words, without numbers and words for images."""
    word = _WORD.search(name)
    if word is None:
        return None
    rest = re.split(r"[-._ ]+", f"{name[: word.start()]} {name[word.end() :]}".lower())
    kept = (part for part in rest if part and not re.search(r"\d", part) and part not in IMAGES)
    return _Place(folder, tuple(kept), SPLITS[word[1].lower()])


def _agree(places: list[_Place | None]) -> bool:
    """Whether all names have a split word and, by their other words, tell splits apart."""
    splits = _told_apart(places, lambda place: place.otherwise)
    several = sum(len(found) > 1 for found in splits.values())
    return all(places) and (len(splits) == 1 or 2 * several >= len(splits))


def _pairs(places: list[_Place | None]) -> set[tuple[str, tuple[str, ...]]]:
    """The names, without their split word, of train and of another split."""
    splits = _told_apart(places, lambda place: place[:2])
    return {key for key, found in splits.items() if "train" in found and len(found) > 1}


def _told_apart(places: list[_Place | None], key: Callable[[_Place], Any]) -> dict[Any, set[str]]:
    splits: dict[Any, set[str]] = defaultdict(set)
    for place in places:
        if place is not None:
            splits[key(place)].add(place.split)
    return splits
