"""How a network is made without its weights, and what its processor makes of blank images."""

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
    """How a network is made, and what its own processor makes of blank images.

    Attributes:
        name: What it is called.
        build: The network, on torch's current device.
        blank: A batch of inputs, of a network that was built; None where nothing but the network says their size.
    """

    name: str
    build: Callable[[], nn.Module]
    blank: Callable[[nn.Module], dict[str, torch.Tensor] | None]


def plan_of(model: Any, options: Options) -> Plan:
    """How to make a checkpoint, or a configuration of transformers.

    Raises:
        ModelError: There is no such checkpoint, or nobody knows how to build it.
        InputError: ``model`` is of the wrong kind.
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
    """What a checkpoint's own processor makes of blank images, if it has one."""
    from PIL import Image

    if processor is None:
        return None
    preprocess, _ = preprocessing_of(processor)
    return preprocess([Image.new("RGB", (256, 256))] * count)
