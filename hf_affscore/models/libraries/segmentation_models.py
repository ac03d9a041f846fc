"""segmentation-models-pytorch: checkpoints of its ``save_pretrained``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.models.libraries.library import Loaded, as_asked
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

CLASS = "_model_class"


class SegmentationModels:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By the class and the encoder in ``config.json``."""
        return CLASS in repository.config and "encoder_name" in repository.config

    def load(self, repository: Repository, options: Options) -> Loaded:
        """With ``from_pretrained`` of its class; the encoder's ImageNet weights are not downloaded."""
        folder = repository.folder([CONFIG, "model.safetensors"])
        module = self._class(repository).from_pretrained(str(folder), encoder_weights=None, strict=True)
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From the configuration alone."""
        settings = {name: value for name, value in repository.config.items() if not name.startswith("_")}
        module: nn.Module = self._class(repository)(**{**settings, "encoder_weights": None})
        return module

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """None: its checkpoints do not define their preprocessing."""
        return None

    def _class(self, repository: Repository) -> Any:
        import segmentation_models_pytorch

        return getattr(segmentation_models_pytorch, repository.config[CLASS])
