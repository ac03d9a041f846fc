"""How to build a network without its weights, and the inputs its processor makes from blank images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import InputError
from hf_affscore.inspection.inputs import dry_images
from hf_affscore.models.libraries.library import NeedsWeights
from hf_affscore.models.libraries.registry import library_of
from hf_affscore.models.libraries.transformers import from_configuration
from hf_affscore.models.libraries.transformers_classes import class_of
from hf_affscore.models.loading import explained, locate_model
from hf_affscore.models.preprocessing import preprocessing_of
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """How to build a network, and the inputs its own processor makes from blank images.

    Attributes:
        name: Name of the network.
        build: Builds the network on torch's current device.
        blank: Makes a batch of inputs for the built network; None if only the network declares their size.
    """

    name: str
    build: Callable[[], nn.Module]
    blank: Callable[[nn.Module], dict[str, torch.Tensor] | None]


def plan_of(model: Any, options: Options) -> Plan:
    """How to build the network of a checkpoint, or of a configuration of transformers.

    Raises:
        ModelError: The checkpoint does not exist, or no library can build it.
        InputError: ``model`` has the wrong type.
    """
    import torch
    from transformers import PretrainedConfig

    if isinstance(model, PretrainedConfig):
        name = type(model).__name__.removesuffix("Config")
        return Plan(name, lambda: from_configuration(class_of(model), model), lambda _: None)
    if not isinstance(model, str | Path):
        raise InputError(
            f"model is a {type(model).__name__}; expected a Hub id, a local folder, a configuration of "
            "transformers or a torch.nn.Module."
        )
    source = locate_model(model, options)
    repository = Repository(source, options.token)
    with explained(source, options):
        library = library_of(repository, options).library

    def build() -> nn.Module:
        try:
            with redirect_stdout(sys.stderr):
                return library.build(repository, options)
        except NeedsWeights:
            with torch.device("cpu"), explained(source, options):
                return library.load(repository, options).module

    def blank(built: nn.Module) -> dict[str, torch.Tensor] | None:
        with explained(source, options):
            return _from_processor(library.processor(repository, built, options), dry_images(built))

    return Plan(str(model), build, blank)


def _from_processor(processor: Any, count: int) -> dict[str, torch.Tensor] | None:
    """The inputs that a checkpoint's own processor makes from blank images; None without a processor."""
    from PIL import Image

    if processor is None:
        return None
    preprocess, _ = preprocessing_of(processor)
    return preprocess([Image.new("RGB", (256, 256))] * count)
