"""timm: checkpoints of ``timm.models.save_for_hf`` and ``push_to_hf_hub``, of all versions.

Loaded by timm itself: classifiers, networks without a head, lists of features, any number of channels, and the flat
configurations from before 0.8. timm networks saved by transformers are loaded by transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded, as_asked
from hf_affscore.models.preprocessing import timm_transform
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

#: Extensions of weights files, in timm's own order of preference.
WEIGHTS = (".safetensors", ".pth", ".pth.tar", ".bin")
USUAL_NAMES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")


class Timm:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By timm's key ``architecture`` in ``config.json``."""
        return "architecture" in repository.config and "architectures" not in repository.config

    def load(self, repository: Repository, options: Options) -> Loaded:
        """From a folder with the configuration and the weights file that timm would choose."""
        module = self._create(repository, [CONFIG, _weights(repository)], pretrained=True)
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From the configuration alone."""
        return self._create(repository, [CONFIG], pretrained=False)

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """timm's evaluation transform for the network."""
        return timm_transform(module)

    def _create(self, repository: Repository, names: list[str], *, pretrained: bool) -> nn.Module:
        import timm

        folder = repository.folder(names)
        module: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=pretrained)
        return module


def _weights(repository: Repository) -> str:
    """The weights file that timm chooses in a folder."""
    there = sorted(name for name in repository.files if "/" not in name and name.endswith(WEIGHTS))
    usual = (name for name in USUAL_NAMES if name in there)
    others = (name for ending in WEIGHTS for name in there if name.endswith(ending))
    name = next(usual, None) or next(others, None)
    if name is None:
        raise ModelError(
            f"Model {repository.source.name!r} has no file of weights; expected one such as {USUAL_NAMES[0]}. "
            "Check the upload, or analyse it untrained: random_weights=True, --random-weights."
        )
    return name
