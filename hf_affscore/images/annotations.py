"""Find masks, labels and depth maps among the image files of a data set: they are not its images.

- Folders: ``masks`` beside ``images``, ``train_masks`` beside ``train``, ``gtFine`` beside ``leftImg8bit``. Beside
  other folders, a folder called ``mask`` is a class.
- Files: ``1_mask.png`` beside ``1.png``, ``1.jpg`` or ``1_rgb.png`` in one folder.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterator

#: The words by which ``datasets`` recognises splits.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}

#: Words in names of folders of images, and in those of annotations.
IMAGES = frozenset(
    {"images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb", "color", "colour", "sat"}
)
ANNOTATIONS = frozenset(
    (
        *("annotations", "annotation", "annot", "annots", "labels", "label", "masks", "mask", "gt", "gts"),
        *("gtfine", "gtcoarse", "segmentation", "segmentations", "segmentationclass", "segmentationobject"),
        *("segmentationclassaug", "groundtruth", "ground_truth", "depth", "depths"),
    )
)

#: Further words in names of columns that hold annotations.
_IN_COLUMNS = ANNOTATIONS | {"seg", "segm", "alpha", "matte", "trimap", "trimaps"}

_PLAIN = IMAGES | frozenset(SPLITS)
_GLUED = re.compile(rf"({'|'.join(SPLITS)})({'|'.join(ANNOTATIONS)})")
_OF_IMAGE = re.compile(rf"[-_. ]+(?:{'|'.join(IMAGES)})$", re.IGNORECASE)
_SUFFIX = re.compile(rf"[-_. ]+(?:{'|'.join(ANNOTATIONS)})(?:[-_ ]?\d+)?$", re.IGNORECASE)


def annotation_files(names: Collection[str]) -> set[str]:
    """The names, relative to the data set, of files that annotate other images.

    Example:
        >>> annotation_files(["train/1.jpg", "train_masks/1.png", "test/2.jpg", "test/2_mask.png"]) == {
        ...     "train_masks/1.png", "test/2_mask.png"}
        True
    """
    folders: dict[str, set[str]] = defaultdict(set)  # the folders in each folder
    stems: dict[str, set[str]] = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        stems[folder] |= {_stem(file), _OF_IMAGE.sub("", _stem(file))}
    for folder in list(stems):
        for parent, own in _above(folder):
            folders[parent].add(own)

    @functools.cache
    def holds_annotations(folder: str) -> bool:
        return any(_annotates(own, folders[parent]) for parent, own in _above(folder))

    found = set()
    for name in names:
        folder, _, file = name.rpartition("/")
        base = _SUFFIX.sub("", _stem(file))
        if holds_annotations(folder) or (base != _stem(file) and base in stems[folder]):
            found.add(name)
    return found


def names_annotation(column: str) -> bool:
    """Whether a column, or a field of an archive, holds annotations by its name.

    Example:
        >>> names_annotation("mask.png"), names_annotation("leftMask"), names_annotation("jpg")
        (True, True, False)
    """
    return not _words(column).isdisjoint(_IN_COLUMNS)


def _above(folder: str) -> Iterator[tuple[str, str]]:
    """The parent and the own name of a folder and of each folder above it."""
    while folder:
        parent, _, own = folder.rpartition("/")
        yield parent, own
        folder = parent


def _stem(file: str) -> str:
    return file.rpartition(".")[0] or file


def _annotates(own: str, siblings: set[str]) -> bool:
    words = _words(own)
    if words.isdisjoint(ANNOTATIONS) or not words <= ANNOTATIONS | _PLAIN:
        return False
    return any(_words(other) and _words(other) <= _PLAIN for other in siblings)


@functools.cache
def _words(name: str) -> frozenset[str]:
    """The words in a folder's name.

    Example:
        >>> sorted(_words("trainMasks_2017")), sorted(_words("valannot")), sorted(_words("gtFine"))
        (['masks', 'train'], ['annot', 'val'], ['gtfine'])
    """
    if name.lower() in ANNOTATIONS | IMAGES:
        return frozenset({name.lower()})
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    found = re.findall(r"[^\W\d_]+", spaced)
    parts = [glued.groups() if (glued := _GLUED.fullmatch(word)) else (word,) for word in found]
    return frozenset(itertools.chain.from_iterable(parts))
