"""One range of values for all images of more than 8 bits in a data set, found in the first images of the draw.

Before the first image is given, the first :data:`LOOKED_AT` of the draw are read, or all that are wanted, if fewer:
the same in every process, whatever the batch size. The range is recorded as ``pixel_range`` in the metadata. Values
of a kind that none of them has, integers or floating point, are scaled image by image. Ready tensors have no range:
the metadata say ``ready_tensors``, and a warning if they do not seem to be normalised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sized
from dataclasses import replace
from typing import Any

from PIL import UnidentifiedImageError

from hf_affscore.compat import client_error
from hf_affscore.errors import warn
from hf_affscore.images.decoding import extremes_of, ready_tensor
from hf_affscore.images.draw import images_wanted
from hf_affscore.images.pixels import BY_IMAGE, Scale
from hf_affscore.images.stream import ImageStream
from hf_affscore.images.values import ending
from hf_affscore.options import Options

#: Images in which the range is found.
LOOKED_AT = 32

#: Ready tensors that are looked at.
READY = 4

#: Extensions of formats that always have 8 bits.
EIGHT_BITS = frozenset({"jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp"})


def with_one_range(stream: ImageStream, options: Options) -> ImageStream:
    """The same stream, which scales all images of more than 8 bits alike.

    Args:
        stream: Its ``decode`` takes the range as ``scale``.
        options: The number of images.
    """
    wanted = images_wanted(options)
    kind = _SizedRanged if isinstance(stream.items, Sized) else _Ranged
    items = kind(stream, LOOKED_AT if wanted is None else min(LOOKED_AT, wanted))
    return replace(stream, items=items, decode=items.decode)


class _Ranged:
    """The items of a stream; the range is found when iteration begins."""

    def __init__(self, stream: ImageStream, count: int) -> None:
        self._stream = stream
        self._count = count
        self._scale = BY_IMAGE

    def __iter__(self) -> Iterator[Any]:
        items, first = iter(self._stream.items), deque[Any]()
        failure: Exception | None = None
        try:
            while len(first) < (min(READY, self._count) if first and _is_ready(first[0]) else self._count):
                first.append(next(items))
        except StopIteration:
            pass
        except Exception as error:  # an iterable may run any code
            connection = isinstance(error, (OSError, client_error()))
            if connection and not isinstance(error, UnidentifiedImageError):
                raise  # the stream is opened again
            failure = error
        deep = [None if _has_eight_bits(item) else item for item in first]
        read = [items[0] for _, items in self._stream.fetched((None, [item]) for item in deep)]
        self._find_range(read)
        self._find_ready(read[:READY])
        first = deque(item if content is None else content for item, content in zip(first, read, strict=True))
        del deep, read
        while first:  # an image is let go when it is used
            yield first.popleft()
        if failure is not None:
            raise failure
        yield from items

    def decode(self, item: Any) -> Any:
        """The image of an item."""
        return self._stream.decode(item, scale=self._scale)  # type: ignore[call-arg]

    def _find_range(self, items: list[Any]) -> None:
        found = [each for item in items if (each := extremes_of(item)) is not None]
        if not found:
            return
        self._scale = Scale.of(found)
        record: dict[str, Any] = {"images": len(items)}
        if self._scale.integers is not None:
            record["integers"] = list(self._scale.integers)
        if self._scale.floats is not None:
            record["floats"] = list(self._scale.floats)
        self._stream.metadata["pixel_range"] = record

    def _find_ready(self, items: list[Any]) -> None:
        ready = [tensor for item in items if (tensor := ready_tensor(item)) is not None]
        if not ready:
            return
        self._stream.metadata["ready_tensors"] = True
        if not any((tensor < 0).any() for tensor in ready):
            warn(
                "The data set gives tensors without negative values, as ToTensor makes them. They are used "
                "unchanged, without the model's preprocessing. If the model expects normalised images, add the "
                "normalisation to the transform, or leave the transform out: PIL images are preprocessed."
            )


class _SizedRanged(_Ranged):
    """Of a stream whose length is known."""

    def __len__(self) -> int:
        items = self._stream.items
        assert isinstance(items, Sized)
        return len(items)


def _is_ready(item: Any) -> bool:
    """Whether an item is a tensor of floating-point numbers, which is used as it is."""
    import torch

    return isinstance(item, torch.Tensor) and item.is_floating_point()


def _has_eight_bits(item: Any) -> bool:
    """Whether an item has 8 bits per value by the name of its file."""
    return isinstance(item, dict) and ending(item.get("path") or "") in EIGHT_BITS
