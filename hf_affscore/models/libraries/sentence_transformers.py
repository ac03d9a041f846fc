"""sentence-transformers: models of images and text (CLIP), which transformers loads from a subfolder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded
from hf_affscore.models.libraries.transformers import Transformers
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

MODULES = "modules.json"


class SentenceTransformers:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By its list of modules, if there is no ``config.json`` beside it."""
        return MODULES in repository.files and CONFIG not in repository.files

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The first module, loaded by transformers."""
        return Transformers().load(_network(repository), options)

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From the first module's configuration alone."""
        return Transformers().build(_network(repository), options)

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """The image processor in the folder of the first module."""
        return Transformers().processor(_network(repository), module, options)


def _network(repository: Repository) -> Repository:
    """The folder of the first module that has a configuration."""
    modules = json.loads(repository.path(MODULES).read_bytes())
    for module in modules:
        if f"{module['path']}/{CONFIG}" in repository.files:
            return repository.part(module["path"])
    raise ModelError(
        f"{repository.source.name} has no module with a {CONFIG}; expected one of images and text, such as CLIP."
    )
