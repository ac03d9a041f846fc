"""Clips of frames for video models: lists of images, arrays, folders of frames, and video files.

A clip is a list of images of one length: of a longer one, frames at even distances are used, the first and the last
among them. Columns of clips are found as those of images are (:mod:`hf_affscore.images.columns`). A folder of a
data set that holds images is one clip, its frames in the order of their numbers. Video files are read with PyAV,
which brings its own FFmpeg.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from hf_affscore.errors import DatasetError
from hf_affscore.images.decoding import Undecodable, decode
from hf_affscore.images.draw import Permuted, draw_rows
from hf_affscore.images.layouts import TABLES, form_of
from hf_affscore.images.pixels import BY_IMAGE, Scale
from hf_affscore.images.stream import ImageStream
from hf_affscore.images.values import IMAGE_ENDINGS, VIDEO_ENDINGS, ending, is_video
from hf_affscore.options import Options
from hf_affscore.sources import Source

if TYPE_CHECKING:
    from hf_affscore.images.decoding import Decoded


def open_clips(dataset: Any, options: Options, length: int) -> ImageStream | None:
    """The clips of a data set without columns as a stream; None if it has columns, images or tensors.

    Args:
        dataset: A local folder of frames or video files, or a list of clips in any form that :func:`decode_clip`
            takes.
        options: Order and split (a folder in the folder).
        length: Number of frames of a clip.
    """
    if isinstance(dataset, Source):
        where: dict[str, Any] = {"id": dataset.name, "revision": None, "split": options.split}
        clips = [] if dataset.on_the_hub else clips_of_folder(dataset, options)
    else:
        where = {"id": None, "type": type(dataset).__name__}
        is_list = isinstance(dataset, Sequence) and len(dataset) > 0 and _is_clip(dataset[0])
        clips = dataset if is_list else []
    if not clips:
        return None
    order = draw_rows(len(clips), options)
    draw = {"shuffled": order.record["method"] == "uniform", "draw": order.record}
    items = Permuted(clips, order.numbers, lambda clip: clip)
    return ImageStream(
        items, functools.partial(decode_clip, length=length), where | draw, numbers=order.numbers
    )


def _is_clip(item: Any) -> bool:
    pixels = isinstance(item, np.ndarray) and item.ndim == 4 and item.dtype.kind != "f"
    return pixels or isinstance(item, list | tuple) or hasattr(item, "get_frames_at") or is_video(item)


def decode_clip(item: Any, scale: Scale = BY_IMAGE, *, length: int) -> Decoded:
    """An item of a data set as a clip; a single image or a tensor as it is.

    Args:
        item: A list of frames in any form of an image, an array of pixels ``(frames, H, W, 3)``, a video file as
            ``{"bytes", "path"}``, or a decoder of torchcodec.
        scale: The range of images of more than 8 bits.
        length: Number of frames of a clip.

    Raises:
        Undecodable: It has too few frames, or one of them is not readable.
        DatasetError: It is a video file, and PyAV is not installed.
    """
    if isinstance(item, np.ndarray) and item.ndim == 4 and item.dtype.kind != "f":
        item = list(item)
    if isinstance(item, list | tuple) and item:
        return [_frame(item[number], scale) for number in frame_numbers(len(item), length)]
    if hasattr(item, "get_frames_at"):  # a decoder of torchcodec, as datasets.Video gives it
        numbers = frame_numbers(item.metadata.num_frames, length)
        frames = item.get_frames_at(numbers).data.permute(0, 2, 3, 1).numpy()
        return [_frame(frame, scale) for frame in frames]
    if isinstance(item, bytes) and is_video(item):
        item = {"bytes": item, "path": None}
    if isinstance(item, dict) and is_video(item):
        return [_frame(frame, scale) for frame in _read(item, length)]
    return decode(item, scale)


def frame_numbers(count: int, length: int) -> list[int]:
    """The numbers of ``length`` frames at even distances among ``count``.

    Raises:
        Undecodable: There are fewer.

    Example:
        >>> frame_numbers(10, 4)
        [0, 3, 6, 9]
    """
    if count < length:
        raise Undecodable(f"a clip of {count} frames; the model takes {length}")
    return [round(number) for number in np.linspace(0, count - 1, length).tolist()]


def _frame(frame: Any, scale: Scale) -> Image:
    image = decode({"bytes": None, "path": str(frame)} if isinstance(frame, str | Path) else frame, scale)
    if not isinstance(image, Image):
        raise Undecodable(
            "a frame is a tensor; expected images, or the whole clip as a tensor (frames, 3, H, W)"
        )
    return image


def _read(item: dict[str, Any], length: int) -> list[np.ndarray[Any, Any]]:
    """Frames of a video file. All are decoded, since many files do not say how many there are."""
    try:
        import av
    except ImportError as error:
        raise DatasetError(
            "The data set holds video files, and reading them needs PyAV, which is not installed. Install it: "
            "pip install av; or pass each clip as a list of images."
        ) from error
    name = os.path.basename(item.get("path") or "a video")

    def frames() -> Iterator[Any]:
        source = item["path"] if item.get("bytes") is None else io.BytesIO(item["bytes"])
        with av.open(source, "r") as file:
            yield from file.decode(video=0)

    try:
        numbers = frame_numbers(sum(1 for _ in frames()), length)
        kept = {
            number: frame.to_ndarray(format="rgb24")
            for number, frame in enumerate(frames())
            if number in numbers
        }
        return [kept[number] for number in numbers]
    except (OSError, ValueError, IndexError) as error:  # FFmpeg's errors are of these types
        raise Undecodable(f"{name}: {error}") from error


def clips_of_folder(source: Source, options: Options) -> list[Any]:
    """The clips of a folder: its video files, and the folders that hold frames; in the order of their names.

    Empty if the folder holds none, or tables and archives, which have columns.

    Args:
        source: The folder.
        options: ``split`` names a folder in it, whose clips are used.
    """
    clips: list[Any] = []
    for place, names in _walked(Path(source.location) / (options.split or "")):
        files = [str(place / name) for name in sorted(names, key=_by_number)]
        if source.files or any(form_of(file) in TABLES.values() for file in files):
            return []
        clips += [{"bytes": None, "path": file} for file in files if ending(file) in VIDEO_ENDINGS]
        frames = [{"bytes": None, "path": file} for file in files if ending(file) in IMAGE_ENDINGS]
        clips += [frames] if frames else []
    return clips


def _walked(folder: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_by_number)
        yield Path(place), [name for name in names if not name.startswith(".")]


def _by_number(name: str) -> list[Any]:
    """Orders names by the numbers in them: ``frame2`` before ``frame10``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
