"""Find the images of a local folder and their splits.

- Images are recognised by file extension, case-insensitively. Hidden files and files in hidden folders (``.git``,
  ``__MACOSX``) are ignored. Links to folders are followed, cycles are not.
- Other files are ignored, such as labels of YOLO, COCO and VOC, tables and texts. Folders with a table or archive
  of images (Parquet, Arrow, tar), an image folder's ``metadata`` file, or configurations in the card are not
  handled here.
- Beside a folder of images (``images`` or a similar name), folders of masks and labels are annotations.
- Folders are splits if their names contain a split word of ``datasets`` (``train``, ``val2017``, ``seg_test``), in
  any case, and if all images are in such folders, or the folders of train and of another split differ only in that
  word. Otherwise a folder called ``train`` is a class. If no folder is a split, file names define the splits,
  provided that all of them contain a split word.

A warning states how many images are left out.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hf_affscore.errors import AffscoreWarning
from hf_affscore.images.values import IMAGE_ENDINGS, ending

#: Extensions of files that contain images.
TABLES = frozenset({"arrow", "parquet", "tar"})

#: Names of an image folder's table of file names.
METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})

#: Lower-case names of folders of images, and of folders of annotations beside them.
IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb"})
ANNOTATIONS = frozenset(
    (
        *("annotations", "annotation", "labels", "label", "masks", "mask", "gt", "gtfine", "gtcoarse"),
        *("segmentationclass", "segmentationobject", "groundtruth", "ground_truth", "depth", "depths"),
    )
)

#: The words by which ``datasets`` recognises splits.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_WORD = re.compile(rf"(?:^|(?<=[-._ 0-9]))({'|'.join(SPLITS)})(?=$|[-._ 0-9])", re.IGNORECASE)


class _File(NamedTuple):
    """An image: its path, and its folders relative to the data set."""

    folders: tuple[str, ...]
    path: str


class _Place(NamedTuple):
    """A folder with a split word in its name: its parent, the rest of its name, and the split."""

    parent: tuple[str, ...]
    otherwise: str
    split: str


def image_files(folder: str | Path) -> dict[str, list[str]] | None:
    """The images of a folder by split, sorted by path; None if other files define its content."""
    files = list(files_below(os.path.abspath(folder)))
    names = {os.path.basename(path).lower() for path in files}
    if names & METADATA or {ending(name) for name in names} & TABLES or _says_configurations(Path(folder)):
        return None
    found = [_File(_folders(path, folder), path) for path in files if ending(path) in IMAGE_ENDINGS]
    if not found:
        return None
    pictures, annotations = _without_annotations(found)
    splits, outside = _by_split(pictures)
    warn_of_unused(str(folder), (file.path for file in [*annotations, *outside]), len(found))
    return {split: sorted(file.path for file in those) for split, those in splits.items()}


def warn_of_unread(folder: str, read: Iterable[str]) -> None:
    """Warn about images of a folder that ``datasets`` does not read, or that are not in their metadata."""
    used = {os.path.realpath(path) for path in read}
    for table in sorted(path for path in used if os.path.basename(path).lower() in METADATA):
        below = os.path.dirname(table) + os.sep
        used = {path for path in used if not path.startswith(below)} | set(_named_in(table))
    images = [path for path in files_below(os.path.abspath(folder)) if ending(path) in IMAGE_ENDINGS]
    warn_of_unused(folder, (path for path in images if os.path.realpath(path) not in used), len(images))


def warn_of_images_beside(folder: str) -> None:
    """Warn about image files in a folder whose tables or archives define the data set.

    A table may name such files as paths of its images, which is not known before its rows are read.
    """
    images = [path for path in files_below(os.path.abspath(folder)) if ending(path) in IMAGE_ENDINGS]
    if images:
        warnings.warn(
            f"{len(images)} image file(s) in {folder} lie beside tables or archives, which define the data set: "
            "only images that these hold or name are used. To use the files, pass a folder that holds only images.",
            AffscoreWarning,
            stacklevel=3,
        )


def _named_in(table: str) -> Iterator[str]:
    """The files listed in the metadata of an image folder: ``file_name``, ``..._file_names``."""
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    read = {
        "csv": pyarrow.csv.read_csv,
        "jsonl": pyarrow.json.read_json,
        "parquet": pyarrow.parquet.read_table,
    }
    rows = read[ending(table)](table)
    for column in rows.column_names:
        if re.search(r"(^|_)file_names?$", column):
            for value in rows[column].to_pylist():
                for name in value if isinstance(value, list) else [value]:
                    yield os.path.realpath(os.path.join(os.path.dirname(table), str(name)))


def warn_of_unused(folder: str, unused: Iterable[str], found: int) -> None:
    """Warn how many of the images ``found`` in a folder are not used, and where they are."""
    places = Counter(os.path.relpath(os.path.dirname(path), folder) for path in unused)
    if places:
        first = ", ".join(f"{number} in {place}" for place, number in places.most_common(5))
        more = ", ..." if len(places) > 5 else ""
        warnings.warn(
            f"{places.total()} of the {found} images in {folder} are not used: {first}{more}. "
            "To use all of them, pass a folder that holds only images.",
            AffscoreWarning,
            stacklevel=3,
        )


def files_below(folder: str, seen: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Every file below a folder that is not hidden; follows links to folders, but no cycles."""
    stat = os.stat(folder)
    here = (stat.st_dev, stat.st_ino)
    if here in seen:
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.is_dir():
                yield from files_below(entry.path, seen | {here})
            elif entry.is_file() or entry.is_symlink():  # also a broken link: an unreadable image
                yield entry.path


def _folders(path: str, folder: str | Path) -> tuple[str, ...]:
    return Path(os.path.relpath(path, folder)).parts[:-1]


def _says_configurations(folder: Path) -> bool:
    card = folder / "README.md"
    return card.is_file() and "\nconfigs:" in card.read_text(encoding="utf-8", errors="replace")


def _without_annotations(found: list[_File]) -> tuple[list[_File], list[_File]]:
    """The images, and the files in a folder of annotations beside a folder of images."""
    folders = {_lower(file.folders[:depth]) for file in found for depth in range(1, len(file.folders) + 1)}

    def annotates(file: _File) -> bool:
        parts = _lower(file.folders)
        return any(
            part in ANNOTATIONS and any((*parts[:depth], name) in folders for name in IMAGES)
            for depth, part in enumerate(parts)
        )

    return _parted(found, annotates)


def _by_split(found: list[_File]) -> tuple[dict[str, list[_File]], list[_File]]:
    """The images by split, and the images outside the folders of splits."""
    places = {file: _place(file) for file in found}
    told_apart: dict[tuple[tuple[str, ...], str], set[str]] = defaultdict(set)
    for place in places.values():
        if place is not None:
            told_apart[place.parent, place.otherwise].add(place.split)
    pairs = {key for key, splits in told_apart.items() if "train" in splits and len(splits) > 1}
    everywhere = all(places.values())
    if not everywhere and not pairs:
        return _by_name(found), []
    splits: dict[str, list[_File]] = defaultdict(list)
    outside = []
    for file, place in places.items():
        if place is not None and (everywhere or (place.parent, place.otherwise) in pairs):
            splits[place.split].append(file)
        else:
            outside.append(file)
    return splits, outside


def _place(file: _File) -> _Place | None:
    """The outermost folder of a file that has a split word in its name."""
    for depth, name in enumerate(file.folders):
        word = _WORD.search(name)
        if word is not None:
            otherwise = f"{name[: word.start()]}*{name[word.end() :]}"
            return _Place(file.folders[:depth], otherwise, SPLITS[word[1].lower()])
    return None


def _by_name(found: list[_File]) -> dict[str, list[_File]]:
    """The images by the split word in their file names if all have one; else one split."""
    words = [_WORD.search(os.path.splitext(os.path.basename(file.path))[0]) for file in found]
    splits: dict[str, list[_File]] = defaultdict(list)
    for file, word in zip(found, words, strict=True):
        splits[SPLITS[word[1].lower()] if word is not None and all(words) else "train"].append(file)
    return splits


def _lower(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.lower() for part in parts)


def _parted(files: list[_File], condition: Callable[[_File], bool]) -> tuple[list[_File], list[_File]]:
    """Files that do not meet a condition, and files that do."""
    parts: tuple[list[_File], list[_File]] = ([], [])
    for file in files:
        parts[condition(file)].append(file)
    return parts
