"""torch.export: programs in ``.pt2`` files. Loading one can run code, like loading a pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded, NeedsWeights, as_asked, trusted
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

ENDING = ".pt2"


class TorchExport:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By a file with the extension ``.pt2``."""
        return any(name.endswith(ENDING) for name in repository.files)

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The program as a module; it runs on the device that it was exported on.

        Raises:
            ModelError: Its input is not one batch of images, or code may not run.
        """
        import torch

        name = only_file(repository, ENDING)
        trusted(
            f"{name} of {repository.source.name} has pickled parts, and loading them can run code", options
        )
        program = torch.export.load(repository.path(name))
        inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(inputs) != 1:
            raise ModelError(f"{name} takes {len(inputs)} inputs; expected one, a batch of images.")
        module: Any = program.module()
        shape = inputs[0].meta["val"].shape
        if len(shape) == 4 and all(isinstance(size, int) for size in shape[2:]):
            module.image_size = tuple(shape[2:])
        if isinstance(shape[0], int):  # without a dynamic dimension
            module.exported_batch_size = shape[0]
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """Not possible: a program contains its weights."""
        raise NeedsWeights("A program of torch.export contains its weights; it cannot be built without them.")

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """None: a program does not define its preprocessing."""
        return None


def only_file(repository: Repository, ending: str) -> str:
    """The only file with this extension.

    Raises:
        ModelError: There are several such files.
    """
    found = sorted(name for name in repository.files if name.endswith(ending))
    if len(found) > 1:
        raise ModelError(
            f"{repository.source.name} has {', '.join(found[:5])}; expected one such file. Put the one to analyse "
            "into a folder of its own, and name that folder."
        )
    return found[0]
