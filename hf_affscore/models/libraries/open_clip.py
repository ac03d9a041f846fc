"""open_clip: the image side of checkpoints that ``open_clip.push_to_hf_hub`` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.models.libraries.library import Loaded, as_asked
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

SETTINGS = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class OpenClip:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By the names of its settings and weights, which are specific to open_clip."""
        return SETTINGS in repository.files and not set(WEIGHTS).isdisjoint(repository.files)

    def load(self, repository: Repository, options: Options) -> Loaded:
        """From a folder with its settings and one weights file."""
        weights = next(name for name in WEIGHTS if name in repository.files)
        module = self._create(repository, [SETTINGS, weights], load_weights=True)
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From its settings alone."""
        return self._create(repository, [SETTINGS], load_weights=False)

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """open_clip's evaluation transform for the network."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        clip: Any = module
        return image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)

    def _create(self, repository: Repository, names: list[str], *, load_weights: bool) -> nn.Module:
        import open_clip
        import torch

        module: nn.Module = open_clip.create_model(
            f"local-dir:{repository.folder(names)}",
            load_weights=load_weights,
            pretrained_text=False,  # not fetched, since the checkpoint has its own
            device=torch.empty(0).device,  # the one asked for, also by `with torch.device(...)`
        )
        return module
