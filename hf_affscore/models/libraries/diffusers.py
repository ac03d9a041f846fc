"""diffusers: autoencoders, alone or in a pipeline, and denoisers that work on pixels.

Only the part of a pipeline that takes images is run: its autoencoder, else its denoiser. A denoiser is run at one
noise step, which is recorded as ``timestep``. A denoiser of latents that needs a text cannot be run on images.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded, as_asked
from hf_affscore.models.preprocessing import MODES, TakesNoImages
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn

PIPELINE, CLASS = "model_index.json", "_class_name"

#: Parts of a pipeline that can take images, in order of preference.
PARTS = ("vae", "vqvae", "movq", "unet", "transformer")
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class Diffusers:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By a pipeline's list of parts, or the class in a part's ``config.json``."""
        return PIPELINE in repository.files or (
            CLASS in repository.config and "_diffusers_version" in repository.config
        )

    def load(self, repository: Repository, options: Options) -> Loaded:
        """By ``from_pretrained`` of the part's class."""
        folder = _part(repository)
        weights = next((name for name in WEIGHTS if folder + name in repository.files), WEIGHTS[0])
        here = repository.folder([folder + CONFIG, folder + weights])
        module, report = _class(repository, folder).from_pretrained(
            str(here / folder),
            output_loading_info=True,
            low_cpu_mem_usage=False,  # else weights that are missing have no values
        )
        noted = {"part": folder.rstrip("/")} if folder else {}
        step = _at_one_step(module, options)
        notes = noted if step is None else {**noted, "timestep": step}
        return Loaded(as_asked(module, options), sorted(report["missing_keys"]), notes=notes)

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From the part's configuration alone."""
        folder = _part(repository)
        module: nn.Module = _class(repository, folder).from_config(repository.json(folder + CONFIG))
        _at_one_step(module, options)
        return module

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """The preprocessing of its pipelines: images at the network's size, scaled to between -1 and 1."""
        from diffusers.image_processor import VaeImageProcessor

        config: Any = module.config
        size = config.get("sample_size") or 256
        height, width = (size, size) if isinstance(size, int) else size
        channels = config.get("in_channels") or 3
        if channels not in MODES:
            return TakesNoImages(type(module).__name__, channels)
        pipeline = VaeImageProcessor(do_convert_rgb=False)
        return Prepared(MODES[channels], height, width, pipeline.preprocess)


class Prepared:
    """A pipeline's preprocessing of an image."""

    def __init__(self, mode: str, height: int, width: int, preprocess: Callable[..., torch.Tensor]) -> None:
        self.mode, self.height, self.width, self.preprocess = mode, height, width, preprocess

    def __call__(self, image: Image) -> torch.Tensor:
        """One RGB image as a tensor between -1 and 1."""
        return self.preprocess(image.convert(self.mode), height=self.height, width=self.width)[0]

    def __repr__(self) -> str:
        return f"VaeImageProcessor of diffusers at {self.height} x {self.width}, {self.mode}"


def _part(repository: Repository) -> str:
    """Folder of the part to run, with a trailing slash; empty if the checkpoint is a single part."""
    if PIPELINE not in repository.files:
        return ""
    for part in PARTS:
        if f"{part}/{CONFIG}" in repository.files:
            return f"{part}/"
    raise ModelError(
        f"{repository.source.name} is a pipeline without {', '.join(PARTS)}; expected one that takes images."
    )


def _class(repository: Repository, folder: str) -> Any:
    import diffusers

    name = repository.json(folder + CONFIG)[CLASS]
    found = getattr(diffusers, name, None)
    if found is None:
        raise ModelError(f"diffusers {diffusers.__version__} has no {name}; use a version that has it.")
    return found


def _at_one_step(module: nn.Module, options: Options) -> int | None:
    """Fix the noise step of a denoiser, and return it; None if the network takes no step.

    Raises:
        ModelError: The network needs other inputs than pixels and a step.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    needed = [
        each.name for each in parameters[1:] if each.default is each.empty and each.kind != each.VAR_KEYWORD
    ]
    others = [name for name in needed if name != "timestep"]
    if others:
        raise ModelError(
            f"{type(module).__name__} needs {', '.join(others)} beside pixels; expected a network of images. "
            "The autoencoder of its pipeline does: name the repository of the whole pipeline."
        )
    if "timestep" not in needed:
        return None
    step = options.timestep or 0
    module.forward = functools.partial(module.forward, timestep=step)
    return step
