"""How to build a network without its weights, and the inputs its processor makes from blank images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import InputError
from hf_affscore.inspection.inputs import dry_images
from hf_affscore.models.libraries.library import Loaded, NeedsWeights
from hf_affscore.models.libraries.registry import library_of
from hf_affscore.models.libraries.transformers import from_configuration
from hf_affscore.models.libraries.transformers_classes import class_of
from hf_affscore.models.loading import explained, locate_model
from hf_affscore.models.named_processor import named_processor
from hf_affscore.models.preprocessing import TakesNoImages, preprocessing_of
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
        build: Builds the network on torch's current device; with its processor, if that comes with it.
        blank: Makes a batch of inputs for the built network; None if only the network declares their size.
    """

    name: str
    build: Callable[[], Loaded]
    blank: Callable[[Loaded], dict[str, torch.Tensor] | None]


def plan_of(model: Any, options: Options, processor: Any = None) -> Plan:
    """How to build the network of a checkpoint, or of a configuration of transformers.

    Args:
        model: The checkpoint or the configuration.
        options: What loads it, and its revision.
        processor: What preprocesses images, in place of the checkpoint's own.

    Raises:
        ModelError: The checkpoint does not exist, or no library can build it.
        InputError: ``model`` has the wrong type.
    """
    import torch
    from transformers import PretrainedConfig

    if isinstance(model, PretrainedConfig):
        name = type(model).__name__.removesuffix("Config")
        return Plan(
            name,
            lambda: Loaded(from_configuration(class_of(model), model)),
            lambda built: blank_inputs(processor, built.module, options),
        )
    if not isinstance(model, str | Path):
        raise InputError(
            f"model is a {type(model).__name__}; expected a Hub id, a local folder, a configuration of "
            "transformers or a torch.nn.Module."
        )
    source = locate_model(model, options)
    repository = Repository(source, options.token)
    with explained(source, options):
        library = library_of(repository, options).library

    def build() -> Loaded:
        try:
            # Errors of a library that recognised the checkpoint are about the values of its configuration.
            named = explained(source, options) if options.loader is not None else nullcontext()
            with redirect_stdout(sys.stderr), named:
                return Loaded(library.build(repository, options))
        except NeedsWeights:
            with torch.device("cpu"), explained(source, options):
                return library.load(repository, options)

    def blank(built: Loaded) -> dict[str, torch.Tensor] | None:
        with explained(source, options):
            own = built.processor or library.processor(repository, built.module, options)
            return blank_inputs(own if processor is None else processor, built.module, options)

    return Plan(str(model), build, blank)


def blank_inputs(processor: Any, module: nn.Module, options: Options) -> dict[str, torch.Tensor] | None:
    """The inputs that a processor, or one given by name, makes from blank images; None without a processor."""
    from PIL import Image

    if processor is None or isinstance(processor, TakesNoImages):
        return None
    if isinstance(processor, str | Path):
        processor = named_processor(str(processor), module, options)
    preprocess, _ = preprocessing_of(processor)
    return preprocess([Image.new("RGB", (256, 256))] * dry_images(module))
