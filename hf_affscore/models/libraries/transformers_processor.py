"""The image processor of a checkpoint of transformers: its own, or that of its configuration's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore import compat
from hf_affscore.errors import warn
from hf_affscore.models.repository import Repository
from hf_affscore.models.vision_forward import image_shape

if TYPE_CHECKING:
    from torch import nn

#: Files that hold the settings of an image processor.
FILES = {"preprocessor_config.json", "processor_config.json"}

#: The file that holds the settings of a video processor.
VIDEO = "video_preprocessor_config.json"


def own_processor(repository: Repository, at: dict[str, Any]) -> Any:
    """The image or video processor that was saved with a checkpoint; None without one."""
    from transformers import AutoImageProcessor, AutoVideoProcessor

    if VIDEO in repository.files and "preprocessor_config.json" not in repository.files:
        return AutoVideoProcessor.from_pretrained(repository.source.location, **at)
    if FILES.isdisjoint(repository.files) and "architecture" not in repository.config:
        return None
    return AutoImageProcessor.from_pretrained(repository.source.location, **at)


def processor_of(module: nn.Module) -> Any:
    """The image processor that belongs to the class of a network's configuration, at the network's image size.

    Warns, since the checkpoint may have been trained with another; None if there is none.
    """
    from transformers import CONFIG_MAPPING

    config: Any = getattr(module, "config", None)
    whole = str(getattr(config, "model_type", "")).removesuffix(
        "_vision_model"
    )  # a vision tower uses the processor of its model
    kinds = [type(config), *([CONFIG_MAPPING[whole]] if whole in CONFIG_MAPPING else [])]
    kind: Any = next(filter(None, map(compat.image_processor_of, kinds)), None)
    _, height, width = image_shape(module)
    if kind is None or min(height, width) < 1:
        return None
    processor = kind(**_sizes(kind().to_dict(), height, width))
    warn(
        f"The checkpoint has no image processor: {type(processor).__name__} at {height} x {width}, which belongs "
        "to its configuration, is used. Pass processor= (--processor) for another."
    )
    return processor


def _sizes(settings: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Size settings in the format of a processor's defaults that give images of this height and width."""
    whole = {"height": height, "width": width}
    size, crop = (
        settings.get("size") or {},
        settings.get("crop_size") if settings.get("do_center_crop") else None,
    )
    sizes: dict[str, Any] = {"crop_size": whole} if crop else {}
    if "height" in size:
        sizes["size"] = whole
    elif "shortest_edge" in size and "longest_edge" not in size:
        before = min(crop.values()) if crop else size["shortest_edge"]
        sizes["size"] = {"shortest_edge": round(size["shortest_edge"] * min(height, width) / before)}
    return sizes
