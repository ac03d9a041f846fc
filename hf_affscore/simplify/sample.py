"""The images of a linearisation as inputs of the network, kept in memory, in three parts.

Every second image is fitted to. Of the others, every second one decides which activations are replaced, and
the rest only measures the result: an agreement that had a part in a decision would flatter it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hf_affscore.errors import AffscoreError, DatasetError, InputError, ModelError, shown_cause
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.loading import Checkpoint
from hf_affscore.models.vision_forward import images_per_pass, vision_forward
from hf_affscore.options import Options
from hf_affscore.run.batches import BatchLoader
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import bar
from hf_affscore.run.resume import ResumeCache

#: Model inputs by name; the first axis of each is the batch.
Inputs: TypeAlias = dict[str, Tensor]

#: Two images in the smallest part.
LEAST_IMAGES = 8


@dataclass(frozen=True)
class Part:
    """Images for one purpose.

    Attributes:
        inputs: Of all images, in memory.
        size: Images per forward pass.
        device: Where the network is.
    """

    inputs: Inputs
    size: int
    device: torch.device

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def batches(self) -> Iterator[Inputs]:
        """Copies, on the network's device, which the network may overwrite."""
        for start in range(0, len(self), self.size):
            piece = slice(start, start + self.size)
            yield {name: value[piece].to(self.device, copy=True) for name, value in self.inputs.items()}

    def run_through(self, module: nn.Module) -> None:
        """Give all images to a network, whose outputs are not used."""
        side = vision_forward(module)
        for batch in self.batches():
            side(batch)

    def first(self, count: int) -> Part:
        """The first images only."""
        return Part({name: value[:count] for name, value in self.inputs.items()}, self.size, self.device)


@dataclass(frozen=True)
class Sample:
    """The three parts: images to fit to, to choose by, and to measure with."""

    fitting: Part
    choosing: Part
    measuring: Part


def drawn_sample(checkpoint: Checkpoint, stream: ImageStream, options: Options, size: int) -> Sample:
    """Draw, decode and preprocess images, and divide them into three parts.

    Args:
        checkpoint: The network and its preprocessing.
        stream: The images.
        options: How many images.
        size: Images per forward pass.

    Raises:
        DatasetError: There are fewer than eight usable images.
        InputError: The images result in inputs of different sizes, or the network gives no logits, or NaN.
        ModelError: The network does not run.
    """
    assert isinstance(options.num_samples, int)
    pieces: list[Inputs] = []
    loader = BatchLoader(checkpoint, stream, options, processes=Processes(), resume=ResumeCache())
    count, numbers = 0, itertools.count()
    with closing(loader), bar(options.num_samples, "Images", "image", enabled=options.progress) as shown:
        while count < options.num_samples:
            before, wanted = loader.taken, options.num_samples - count
            for prepared in loader.load(wanted, numbers):
                if prepared.positions:
                    pieces.append({name: value.cpu() for name, value in prepared.inputs.items()})
                    count += len(prepared.positions)
                    shown.update(len(prepared.positions))
            if loader.taken - before < wanted:  # the stream has ended
                break
    if count < LEAST_IMAGES:
        raise DatasetError(
            f"The data set gave {count} usable image(s); expected at least {LEAST_IMAGES}: half to fit to, a "
            "quarter to choose by, a quarter to measure with. Look at num_samples, split and max_images."
        )
    inputs = _joined(pieces)
    device = next((value.device for value in checkpoint.module.parameters()), torch.device("cpu"))
    size = images_per_pass(checkpoint.module, inputs) or size
    _check_runs(checkpoint.module, Part(inputs, size, device).first(2))
    inputs = _laid_out(inputs, checkpoint.module, device)
    _check_numbers(checkpoint.module, Part(inputs, size, device))
    return Sample(
        *(
            Part({name: value[which] for name, value in inputs.items()}, size, device)
            for which in (slice(0, None, 2), slice(1, None, 4), slice(3, None, 4))
        )
    )


def _joined(pieces: list[Inputs]) -> Inputs:
    try:
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
    except (RuntimeError, KeyError) as error:
        shapes = sorted({tuple(value.shape[1:]) for piece in pieces for value in piece.values()})
        raise InputError(
            f"The images result in inputs of different shapes, {shapes[:4]}; expected one shape. Pass a processor "
            "that resizes to one size."
        ) from error


def _check_runs(module: nn.Module, images: Part) -> None:
    try:
        logits(module, images)
    except AffscoreError:
        raise
    except Exception as error:  # the forward method may do anything
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in images.inputs.items())
        raise ModelError(
            f"{type(module).__name__} failed on a batch with {shapes}: {error}. Expected a model that takes images "
            "alone; check the size of the images and the processor."
        ) from shown_cause(error)


def _check_numbers(module: nn.Module, images: Part) -> None:
    """One image that gives NaN would make every map NaN."""
    unknown = int(logits(module, images).isnan().any(1).sum())
    if unknown:
        raise InputError(
            f"{type(module).__name__} gives NaN for {unknown} of {len(images)} images, which then have no class. "
            "Choose another dtype if it is float16; leave out images with NaN; look at the weights."
        )


def _laid_out(inputs: Inputs, module: nn.Module, device: torch.device) -> Inputs:
    """Channels last where the network takes them: a convolution then needs a third of the time on a CPU."""
    if all(value.ndim != 4 for value in inputs.values()):
        return inputs
    other = {
        name: value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in inputs.items()
    }
    try:
        one, two = (logits(module, Part(each, 2, device).first(2)) for each in (inputs, other))
    except RuntimeError:  # `view`, which such tensors do not have
        return inputs
    return (
        other if torch.allclose(one, two, rtol=1e-3, atol=1e-4) else inputs
    )  # `as_strided` reads other values


def logits(module: nn.Module, part: Part) -> Tensor:
    """What a network says of images, shape ``(images, classes)``, float32 or float64 on the CPU.

    Raises:
        InputError: The network gives no logits.
    """
    side = vision_forward(module)
    return torch.cat([_logits_in(side(batch), type(module).__name__) for batch in part.batches()])


def _logits_in(output: Any, network: str) -> Tensor:
    """The logits in what a network returns: a tensor, or the field of that name."""
    found = getattr(output, "logits", None)
    if found is None:
        found = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(found, Tensor) or found.ndim != 2 or found.shape[1] < 2:
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InputError(
            f"{network} returns {what}; expected logits of shape (images, classes), since replacements are judged "
            "by the class that an image is given. Pass a classifier."
        )
    return found.detach().cpu().to(torch.promote_types(found.dtype, torch.float32))


def equal(outputs: Tensor, wanted: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether outputs differ by rounding only: within the tolerance of :mod:`hf_affscore.run.probe`."""
    difference = float(torch.linalg.vector_norm((outputs - wanted).double()))
    scale = float(torch.linalg.vector_norm(wanted.double()))
    return bool(difference <= torch.finfo(dtype).eps ** 0.5 * scale)
