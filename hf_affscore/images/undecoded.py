"""Switch off the decoding of a ``datasets`` object, so that images are decoded when they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hf_affscore.images.transformed import ready


def encoded(data: Any, column: str | None = None) -> Any:
    """A ``datasets`` object that gives encoded images, or the ready tensors of the user's transform.

    A streamed data set decodes every image itself, ahead of use, and so does the result of ``take`` or ``skip``;
    so decoding is switched off first.

    Args:
        data: A ``datasets`` object, or a similar object without formats.
        column: The requested image column, if any.
    """
    import datasets

    if isinstance(data, datasets.IterableDataset):
        return data.decode(False) if data.features else data
    if isinstance(data, datasets.Dataset) and data.format["type"] is not None:
        transformed = ready(data, column)
        if transformed is not None:
            return transformed
        data = data.with_format(None)
    for name, feature in (data.features or {}).items():
        bare = _undecoded(feature)
        if bare is not feature:
            data = data.cast_column(name, bare)
    return data


def _undecoded(feature: Any) -> Any:
    """A feature whose images stay encoded; the same object if it has no images."""
    import datasets

    if isinstance(feature, datasets.Image | datasets.Video):
        return replace(feature, decode=False) if feature.decode else feature
    if isinstance(feature, dict):
        inner = {name: _undecoded(part) for name, part in feature.items()}
        return inner if any(inner[name] is not feature[name] for name in feature) else feature
    if isinstance(feature, datasets.List | datasets.LargeList):
        bare = _undecoded(feature.feature)
        return replace(feature, feature=bare) if bare is not feature.feature else feature
    return feature
