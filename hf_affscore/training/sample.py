"""The fixed sample of images for measurements: drawn once, decoded, and kept in memory."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hf_affscore.errors import DatasetError, warn
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.stream import ImageStream
from hf_affscore.options import Options


def fixed_sample(stream: ImageStream, options: Options) -> ImageStream:
    """The first readable images of a stream, decoded and kept in memory.

    Raises:
        DatasetError: There are fewer than two.
    """
    images: list[Any] = []
    unreadable = 0
    for _, [item] in stream.fetched((None, [item]) for item in stream.resumed()):
        if len(images) == options.num_samples or len(images) + unreadable == options.max_images:
            break
        try:
            image = stream.decode(item)
        except Undecodable:
            unreadable += 1
            continue
        images.append(image.clone() if isinstance(image, Tensor) else image)
    found = f"The data set has {len(images)} usable images"
    found += f" ({unreadable} more could not be decoded)" if unreadable else ""
    if len(images) < 2:
        raise DatasetError(f"{found}; a score needs at least 2.")
    if len(images) != options.num_samples:
        _warn(f"{found}, fewer than num_samples = {options.num_samples}; the scores rest on {len(images)}.")
    elif unreadable:
        _warn(f"{unreadable} image(s) could not be decoded and were replaced by later ones.")
    return ImageStream(images, lambda image: image, stream.metadata)


def _warn(message: str) -> None:
    warn(message)
