"""Load a Hub id, a local folder or an ``nn.Module`` as a network that is ready to run, with its metadata."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import AffscoreError, InputError, ModelError, shown_cause, warn
from hf_affscore.hub import failures_named
from hf_affscore.models.evaluation import device_of
from hf_affscore.models.libraries.library import Library, Loaded
from hf_affscore.models.libraries.registry import library_of, recognising
from hf_affscore.models.named_processor import named_processor
from hf_affscore.models.preprocessing import default_processor, preprocessing_of, stack
from hf_affscore.models.published import published_accuracy
from hf_affscore.models.repository import Repository
from hf_affscore.models.stored import stored
from hf_affscore.models.video import as_clips, by_clip
from hf_affscore.models.vision_forward import GRID, IMAGES, PIXELS, VisionForward, num_frames, vision_forward
from hf_affscore.options import Options
from hf_affscore.sources import Source, locate

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


#: Options for loading a checkpoint, which do not apply to a module.
_OF_CHECKPOINTS = (
    *("dtype", "random_weights", "device", "device_map"),
    *("attn_implementation", "revision", "trust_remote_code", "loader"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to run, and its preprocessing.

    Attributes:
        module: The network, on its device.
        preprocess: RGB images to a batch of model inputs by name.
        metadata: Id, commit, class and sizes of the network.
        preprocessing: Description of the preprocessing: class, backend, settings.
        repeat_frames: Whether a video model gets each image repeated as a static clip.
    """

    module: nn.Module
    preprocess: Callable[[list[Image]], dict[str, torch.Tensor]]
    metadata: dict[str, Any]
    preprocessing: dict[str, Any]
    repeat_frames: bool = False

    def inputs(self, images: Sequence[Any]) -> dict[str, torch.Tensor]:
        """PIL images, clips of them, or ready ``(3, H, W)`` tensors, as one batch for the model.

        It is on the model's device and in its precision.

        Raises:
            InputError: The images result in tensors of different shapes.
        """
        import torch

        tensors, clips = (sum(isinstance(image, kind) for image in images) for kind in (torch.Tensor, list))
        if {tensors, clips} - {0, len(images)}:
            raise InputError(
                "The data set mixes images, tensors or clips; expected one kind. Convert the others."
            )
        if tensors:
            batch = {PIXELS: stack(images)}
        elif clips:
            batch = by_clip(self._preprocessed, images, self.module)
        else:
            batch = self._preprocessed(list(images))
        batch = as_clips(batch, self.module, repeat=self.repeat_frames)
        # Not simply the first parameter: images must not be rounded to a quantised model's integers.
        here = [
            p for p in self.module.parameters() if not p.is_meta
        ]  # offloaded parameters are loaded when they are used
        floating = (p for p in here if p.dtype.is_floating_point and p.dtype.itemsize > 1)
        anywhere = next(iter(here), torch.empty(0))
        parameter = next(floating, torch.empty(0, device=anywhere.device))
        return {
            name: value.to(parameter.device, parameter.dtype if value.is_floating_point() else value.dtype)
            for name, value in batch.items()
        }

    def _preprocessed(self, images: list[Image]) -> dict[str, torch.Tensor]:
        try:
            return self.preprocess(images)
        except AffscoreError:
            raise
        except Exception as error:  # a processor may be any function
            sizes = sorted({image.size for image in images})
            raise InputError(
                f"{self.preprocessing['class']} failed on images of sizes {sizes[:5]}: "
                f"{type(error).__name__}: {error}. Expected a processor that takes RGB images of any size; "
                "pass another with processor=."
            ) from error

    @cached_property
    def _image_side(self) -> VisionForward:
        return vision_forward(self.module)

    @property
    def clip_length(self) -> int | None:
        """Frames of the clips that a data set has to have; None for a model that takes, or repeats, images."""
        return None if self.repeat_frames else num_frames(self.module)

    def forward(self, inputs: dict[str, torch.Tensor]) -> None:
        """Run the network once, or its image side."""
        self._image_side(inputs)

    def input_shape(self) -> tuple[int, ...]:
        """Shape ``(C, H, W)`` of one input, found by preprocessing a blank image; with frames for a clip."""
        from PIL import Image

        made = self._preprocessed([Image.new("RGB", (256, 256))])
        if GRID in made:
            raise InputError(
                f"{self.metadata['class']} takes the patches of images; noise cannot be made for it. Pass images."
            )
        shape = tuple(next(made[name] for name in IMAGES if name in made).shape[1:])
        return shape if self.clip_length is None else (self.clip_length, *shape[-3:])


def locate_model(model: str | Path, options: Options) -> Source:
    """Find a checkpoint by name and pin its state.

    Raises:
        ModelError: The folder or repository does not exist or is not accessible.
    """
    return locate("model", str(model), revision=options.revision, token=options.token)


def load_checkpoint(
    model: Source | nn.Module, processor: Any, options: Options, name: str | None = None
) -> Checkpoint:
    """Load a checkpoint, or use a module unchanged.

    Args:
        model: The result of :func:`locate_model`, or a module, which is neither moved nor converted.
        processor: An image processor of transformers, the Hub id or folder of one, ``"imagenet"``, or a function
            from a PIL image to a ``(3, H, W)`` tensor; None for the checkpoint's own.
        options: Revision, precision, device, token, remote code.
        name: That of a module; default: its class.

    Raises:
        ModelError: Not found, not loadable, or not a vision model.
        InputError: ``model`` or ``processor`` has the wrong type.
    """
    from torch import nn

    if isinstance(model, Source):
        return _from_source(model, processor, options)
    if isinstance(model, nn.Module):
        return _from_module(model, processor, options, name)
    raise InputError(
        f"model is a {type(model).__name__}; expected a Hub id, a local folder or a torch.nn.Module."
    )


def _from_source(source: Source, processor: Any, options: Options) -> Checkpoint:
    repository = Repository(source, options.token)
    with explained(source, options):
        found = library_of(repository, options)
        loaded = _loaded(found.library, repository, options)
        module = loaded.module
        its_own = processor is None
        if processor is None:
            processor = loaded.processor or found.library.processor(repository, module, options)
        elif isinstance(processor, str | Path):
            processor = named_processor(str(processor), module, options)
        if options.device_map is None:
            module = module.to(device_of(options))
    preprocess, preprocessing = preprocessing_of(processor or default_processor(module))
    preprocessing["source"] = "checkpoint" if its_own else "argument"
    metadata = {
        "id": source.name,
        "revision": source.state,
        **describe(module),
        "library": found.name,
        "library_version": found.version,
        **_published(repository, options),
        **({} if options.random_weights else stored(repository)),
        **loaded.notes,
    }
    if options.random_weights:
        metadata["initialised_by"] = found.initialisation(module)
    if loaded.missing:
        metadata["missing_weights"] = {"number": len(loaded.missing), "first": list(loaded.missing[:20])}
        warn_of_missing_weights(metadata)
    for part in module.modules():  # not by eval(), which some modules lack, and which may do more
        part.training = False
    return Checkpoint(module, preprocess, metadata, preprocessing, options.repeat_frames)


def _published(repository: Repository, options: Options) -> dict[str, Any]:
    """The published accuracy of these weights, and the data it was measured on."""
    found = None if options.random_weights else published_accuracy(repository)
    return {"accuracy": None} if found is None else {"accuracy": found.value, "accuracy_on": found.where}


def _loaded(library: Library, repository: Repository, options: Options) -> Loaded:
    """A network; untrained weights, and those that a checkpoint lacks, are drawn with the seed."""
    import torch

    devices = range(torch.cuda.device_count()) if options.device_map else ()
    with torch.random.fork_rng(devices):
        (torch.manual_seed if devices else torch.default_generator.manual_seed)(options.seed)
        if options.random_weights:
            return Loaded(library.build(repository, options))
        return library.load(repository, options)


@contextmanager
def explained(source: Source, options: Options) -> Iterator[None]:
    """Turn any error of a library about a checkpoint into one sentence with a next step.

    Output of the library goes to stderr, since stdout is for results.
    """
    try:
        with failures_named("model", source.name, options.revision), redirect_stdout(sys.stderr):
            yield
    except AffscoreError:
        raise
    except Exception as error:  # damaged files raise any error, such as SafetensorError
        raise ModelError(
            f"Model {source.location!r} could not be loaded: {_reason(error)}. {_next_step(source, options)}"
        ) from shown_cause(error)


def _next_step(source: Source, options: Options) -> str:
    """What to do if a library fails on a checkpoint; if the library was named, which one it is by its files."""
    able = recognising(Repository(source, options.token)) if options.loader is not None else []
    if able and options.loader not in able:
        return f"By its files it is a checkpoint of {able[0]}, and not of {options.loader}: leave loader out."
    return "Check its files; or name its loader, loader= (--loader), or load it and pass the torch.nn.Module."


def warn_of_missing_weights(metadata: dict[str, Any]) -> None:
    """Warn about weights that a checkpoint lacks; ``metadata`` is the model's part of a signature."""
    lacks = metadata.get("missing_weights")
    if lacks:
        warn(
            f"{metadata['id']} lacks {lacks['number']} weights, which were drawn at random: "
            f"{', '.join(lacks['first'][:5])}. Scores after these layers are not those of the checkpoint."
        )


def _from_module(module: nn.Module, processor: Any, options: Options, name: str | None) -> Checkpoint:
    options.refuse(_OF_CHECKPOINTS, "the model is passed as a module, which is analysed as it is")
    if any(parameter.is_meta for parameter in module.parameters()) and not hasattr(module, "_hf_hook"):
        raise ModelError(
            f"{type(module).__name__} has weights on the meta device, which hold no values; expected a module "
            "that can run. Load its weights first."
        )
    if isinstance(processor, str | Path):
        processor = named_processor(str(processor), module, options)
    preprocess, preprocessing = preprocessing_of(processor or default_processor(module))
    metadata = {
        "id": name or type(module).__name__,
        "revision": None,
        **describe(module),
        "library": None,
        "accuracy": None,
    }
    return Checkpoint(module, preprocess, metadata, preprocessing, options.repeat_frames)


def describe(module: nn.Module) -> dict[str, Any]:
    """Class and sizes of a network, as tabulated in the paper, and the part of it that is run.

    Raises:
        ModelError: The network cannot run on images alone.
    """
    from torch.nn.parameter import is_lazy

    parameters = [parameter for parameter in module.parameters() if not is_lazy(parameter)]
    wrapped = getattr(module, "timm_model", None)  # transformers has one class around all networks of timm
    return {
        "class": type(module).__name__,
        **({"wraps": type(wrapped).__name__} if wrapped is not None else {}),
        "runs": vision_forward(module).name,
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "num_trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "num_modules": sum(1 for _ in module.modules()),
        "dtype": str(parameters[0].dtype).removeprefix("torch.") if parameters else None,
    }


def _reason(error: Exception) -> str:
    """The message of an error on one line; a KeyError, whose message is only the key, is explained."""
    said = " ".join(str(error).split()).rstrip(". ")
    return f"{said} is not known to it ({type(error).__name__})" if isinstance(error, KeyError) else said
