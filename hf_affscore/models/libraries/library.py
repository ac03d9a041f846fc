"""The interface of a library that writes checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hf_affscore.errors import ModelError
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Loaded:
    """A network with the weights of its checkpoint.

    Attributes:
        module: The network.
        missing: Names of the weights that the checkpoint lacks, which were drawn at random.
        processor: The image processor, if it came with the network; if None, the library is asked.
        notes: Further facts that belong in the signature, such as how weights are quantised.
    """

    module: nn.Module
    missing: Sequence[str] = ()
    processor: Any = None
    notes: dict[str, Any] = field(default_factory=dict)


class Library(Protocol):
    """How the checkpoints of one library become networks.

    Example:
        A custom library, declared in ``pyproject.toml`` under ``[project.entry-points."hf_affscore.libraries"]``
        as ``ours = "our_package.affscore:Ours"``::

            class Ours:
                def recognises(self, repository):
                    return "ours.json" in repository.files

                def load(self, repository, options):
                    return Loaded(ours.load(repository.folder(["ours.json", "weights.bin"])))

                def build(self, repository, options):
                    return ours.Network(**repository.json("ours.json"))

                def processor(self, repository, module, options):
                    return None
    """

    def recognises(self, repository: Repository) -> bool:
        """Whether the library wrote this checkpoint, by its files; without importing the library."""
        ...

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The network with its weights, on the CPU, in its own number format or that of ``options.dtype``."""
        ...

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """The network without the checkpoint's weights, on torch's current device.

        Unless it is the meta device, the weights are drawn with the library's own initialisation.

        Raises:
            NeedsWeights: This library's checkpoints do not separate the architecture from the weights.
        """
        ...

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """The image processor; None if the checkpoint does not define one."""
        ...


class NeedsWeights(ModelError):
    """A network cannot be built without the weights of its checkpoint."""


def trusted(why: str, options: Options) -> None:
    """Refuse to run a checkpoint's code, unless the user allowed it.

    Args:
        why: What would run, as the beginning of a sentence.
        options: Whether remote code may run.

    Raises:
        ModelError: Remote code may not run.
    """
    if not options.trust_remote_code:
        raise ModelError(
            f"{why}. Load it only if you trust its author: trust_remote_code=True (--trust-remote-code)."
        )


def as_asked(module: nn.Module, options: Options) -> nn.Module:
    """Convert a network to the requested number format, for libraries without such an option.

    Raises:
        InputError: An option is given that only transformers supports.
    """
    import torch

    options.refuse(("device_map", "attn_implementation"), "only checkpoints of transformers support it")
    if options.dtype == "auto":
        return module
    wanted = getattr(torch, options.dtype)
    stored = [*module.parameters(), *module.buffers()]
    others = any(tensor.is_floating_point() and tensor.dtype != wanted for tensor in stored)
    return module.to(wanted) if others else module
