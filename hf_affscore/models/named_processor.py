"""Preprocessing by name: that of another checkpoint, or ImageNet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import InputError
from hf_affscore.hub import failures_named
from hf_affscore.models.libraries.transformers_processor import own_processor
from hf_affscore.models.preprocessing import ImageNetTransform
from hf_affscore.models.repository import Repository
from hf_affscore.models.vision_forward import image_shape
from hf_affscore.options import Options
from hf_affscore.sources import locate

if TYPE_CHECKING:
    from torch import nn

IMAGENET = "imagenet"


def named_processor(name: str, module: nn.Module, options: Options) -> Any:
    """The image processor of another checkpoint by its Hub id or folder, or ImageNet's for ``"imagenet"``.

    Raises:
        ModelError: The checkpoint does not exist.
        InputError: The checkpoint has no image processor.
    """
    if name == IMAGENET:
        return ImageNetTransform(max(image_shape(module)[1:]), asked_for=True)
    source = locate("model", name, revision=None, token=options.token)
    at = {"revision": source.commit, "token": options.token, "trust_remote_code": options.trust_remote_code}
    with failures_named("model", source.name):
        processor = own_processor(Repository(source, options.token), at)
    if processor is None:
        raise InputError(
            f"processor is {name!r}, which has no preprocessor_config.json; expected a Hub id or a folder that "
            'has one, or "imagenet".'
        )
    return processor
