"""Pickled modules: Ultralytics, and files of ``torch.save(module)``. Unpickling can run any code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded, NeedsWeights, as_asked, trusted
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

ENDINGS = (".pt", ".pth", ".pkl", ".bin")


class Pickled:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By a single weights file without a ``config.json``."""
        return CONFIG not in repository.files and len(_files(repository)) == 1

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The module, or the one that Ultralytics stores under ``ema`` or ``model``, in the requested precision.

        Raises:
            ModelError: Code may not run, a package is missing, or the file has no module.
        """
        import torch

        (name,) = _files(repository)
        trusted(f"{name} of {repository.source.name} is a pickle, and loading it can run any code", options)
        try:
            held = torch.load(repository.path(name), map_location="cpu", weights_only=False)
        except ModuleNotFoundError as error:
            raise ModelError(
                f"{name} needs the package {error.name}, which is not installed; expected the one that wrote the "
                f"file. Install it: pip install {str(error.name).partition('.')[0]}"
            ) from error
        module = held
        if isinstance(held, dict):
            module = held.get("ema") or held.get("model")
        if not isinstance(module, torch.nn.Module):
            raise ModelError(
                f"{name} holds a {type(held).__name__} and no torch.nn.Module; expected a whole module. Make the "
                "network that these weights belong to, load them, and pass the module."
            )
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """Not possible: a pickle contains its weights."""
        raise NeedsWeights("A pickled module contains its weights; it cannot be built without them.")

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """None: a pickle does not define its preprocessing."""
        return None


def _files(repository: Repository) -> list[str]:
    return [name for name in repository.files if name.endswith(ENDINGS) and "/" not in name]
