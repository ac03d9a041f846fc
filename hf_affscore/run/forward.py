"""Runs one batch through the model: in pieces if memory is short, in a memory layout that the model accepts."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from hf_affscore.capture import Capture, Selection, Watched
from hf_affscore.capture.below import NOT_OBSERVED
from hf_affscore.capture.features import widths_differ
from hf_affscore.capture.sites import CallSite, SkippedCall
from hf_affscore.capture.summary import Summarize, Summary
from hf_affscore.errors import AffscoreError, ModelError
from hf_affscore.models.evaluation import random_numbers_kept
from hf_affscore.models.loading import Checkpoint
from hf_affscore.models.vision_forward import GRID, PIXELS, images_per_pass
from hf_affscore.run.probe import Behaviour, probe

if TYPE_CHECKING:
    import torch

#: Model inputs by name; the first axis of each is the batch.
Inputs: TypeAlias = "dict[str, torch.Tensor]"
#: Number of an image that fills up a batch; its rows are dropped.
FILLER = sys.maxsize

#: A call with the summaries of its input and its output.
SummarizedCall: TypeAlias = tuple[CallSite, Summary, Summary]


class BatchForward:
    """Runs batches through one model, and remembers the batch size and memory layout that work.

    Args:
        checkpoint: The model.
        selection: What to capture.

    Attributes:
        watched: The model with its hooks: a context that must be open while batches run.
    """

    def __init__(self, checkpoint: Checkpoint, selection: Selection) -> None:
        self.watched = Watched(checkpoint.module, selection)
        self._checkpoint = checkpoint
        self._behaviour: Behaviour | None = None
        self._largest = sys.maxsize  # images known to fit into one forward pass
        self._looks_below = True  # for what runs out of sight of Python's functions
        self._channels_last = True  # a convolution then takes three quarters of the time on a CPU

    def behaviour(self, inputs: Inputs, images: Sequence[int], summarize: Summarize) -> Behaviour:
        """The behaviour of the model on a few images of its first batch; examined once.

        Args:
            inputs: The preprocessed images.
            images: Number of each image within its group.
            summarize: Makes the summary of a tensor.
        """
        if self._behaviour is None:
            settings = self._largest, self._channels_last, self._looks_below

            def run(chosen: Sequence[int]) -> Capture[Summary]:
                few = {name: value[list(chosen)] for name, value in inputs.items()}
                while True:
                    seen = self._pass(few, [images[number] for number in chosen], summarize)
                    if seen is not None:
                        return seen

            with random_numbers_kept(self._checkpoint.module):
                alone = images_per_pass(self._checkpoint.module, inputs) == 1
                self._behaviour = probe(run, len(images), self._checkpoint.module, alone=alone)
            if self._behaviour.batch_dependent:  # settings found for a few images may not suit a whole batch
                self._largest, self._channels_last, self._looks_below = settings
        return self._behaviour

    def run(
        self, inputs: Inputs, images: Sequence[int], summarize: Summarize
    ) -> tuple[list[SummarizedCall], list[SkippedCall]]:
        """The scored and the skipped calls of a batch.

        Args:
            inputs: The preprocessed images.
            images: Number of each image within its group.
            summarize: Makes the summary of a tensor.

        Raises:
            ModelError: The model cannot run on these inputs.
        """
        pieces: list[Capture[Summary]] = []
        done = 0
        fixed = images_per_pass(self._checkpoint.module, inputs)
        while done < len(images):
            piece = slice(done, min(done + (fixed or self._largest), len(images)))
            part = {name: value[piece] for name, value in inputs.items()}
            seen = self._pass(part, images[piece], summarize)
            if seen is not None:
                pieces.append(seen)
                done = piece.stop
        calls, uneven = _joined(pieces)
        behaviour = self._behaviour or Behaviour()
        without = behaviour.not_by_image
        unseen = behaviour.unseen or () if self._looks_below else [NOT_OBSERVED]
        by_chance = [SkippedCall(site, without[site]) for site, _, _ in calls if site in without]
        skipped = [
            *itertools.chain.from_iterable(piece.skipped for piece in pieces),
            *uneven,
            *by_chance,
            *unseen,
        ]
        return [call for call in calls if call[0] not in without], skipped

    def _pass(self, inputs: Inputs, images: Sequence[int], summarize: Summarize) -> Capture[Summary] | None:
        """One forward pass, filled up with the last image to the number that the model must have.

        None if it has to be repeated.
        """
        fixed = images_per_pass(self._checkpoint.module, inputs) or len(images)
        fillers = [FILLER] * (fixed - len(images))
        filled = {
            name: value[[*range(len(images)), *[-1] * len(fillers)]] if fillers else value
            for name, value in inputs.items()
        }
        summarize.start([*images, *fillers])
        seen = self._attempt(filled, summarize)
        if seen is not None and fillers:
            number = len(images)
            seen.calls = [
                replace(call, pre=call.pre.first(number), post=call.post.first(number)) for call in seen.calls
            ]
        return seen

    def _attempt(self, inputs: Inputs, summarize: Summarize) -> Capture[Summary] | None:
        """One forward pass; None if it has to be repeated with the settings that have just been changed."""
        try:
            seen = self._forward(inputs, summarize)
        except AffscoreError:
            raise
        except Exception as error:  # a model may raise anything, often AssertionError
            self._adapt_to(error, inputs)
            return None
        if self._channels_last and seen.by_strides:  # as_strided reads other values in this layout
            self._channels_last = False
            return None
        return seen

    def _adapt_to(self, error: Exception, inputs: Inputs) -> None:
        """Change the settings for the next attempt; raise if nothing is left to change."""
        from accelerate.utils.memory import should_reduce_batch_size

        num_images = len(next(iter(inputs.values())))
        fixed = images_per_pass(self._checkpoint.module, inputs) is not None
        if should_reduce_batch_size(error) and num_images > 1 and not fixed:
            self._largest = num_images // 2
        elif self._channels_last and not should_reduce_batch_size(error):
            self._channels_last = False
        elif self._looks_below and not should_reduce_batch_size(error):
            self._channels_last, self._looks_below = True, False
        else:
            raise self._failure(error, inputs) from error

    def _forward(self, inputs: Inputs, summarize: Summarize) -> Capture[Summary]:
        known = self._behaviour is not None and self._behaviour.unseen is not None  # what runs out of sight
        below = self._looks_below and not known
        with Capture(self.watched, summarize, one_image=GRID in inputs, below=below) as seen:
            self._checkpoint.forward({name: self._laid_out(value) for name, value in inputs.items()})
        summarize.wait()
        return seen

    def _laid_out(self, images: torch.Tensor) -> torch.Tensor:
        """A copy, which the model may overwrite; channels last unless the model does not support that.

        A convolution uses the layout of its input, whatever the layout of its weights. In this layout ``view`` and
        other functions that need contiguous tensors fail, and ``as_strided`` gives other values.
        """
        import torch

        like = torch.channels_last if self._channels_last and images.ndim == 4 else torch.contiguous_format
        return images.clone(memory_format=like)

    def _failure(self, error: Exception, inputs: Inputs) -> ModelError:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
        network = self._checkpoint.metadata["class"]
        failed = f"{network} failed on a batch with {shapes}"
        why = str(error) or type(error).__name__
        channels = re.search(r"to have (\d+) channels, but got (\d+) channels", why)  # of a convolution
        if channels and PIXELS in inputs and int(channels[2]) == inputs[PIXELS].shape[1]:
            return ModelError(f"{failed}: {_of_other_channels(network, *channels.groups())}")
        failed += f": {why.rstrip('.')}."
        quantised = self._checkpoint.metadata.get("quantization")
        if quantised:
            return ModelError(
                f"{failed} Its weights are quantised by {quantised['quant_method']}, which may not run on this "
                "machine; run it where it does, or analyse the checkpoint that it was made from."
            )
        if PIXELS in inputs and inputs[PIXELS].ndim == 5:
            return ModelError(
                f"{failed} Each item of the data set is a batch or a clip; expected one image, as of "
                "(image for batch in loader for image in batch)."
            )
        return ModelError(
            f"{failed} Expected a model that takes images alone; check the size of the images and the processor."
        )


def _of_other_channels(network: str, takes: str, given: str) -> str:
    by_timm = ", or let timm load it, which converts images: loader='timm', --loader timm"
    return (
        f"it takes images with {takes} channel(s), not {given}. Pass a processor that gives {takes}: processor=, "
        f"--processor{by_timm if network.startswith('TimmWrapper') else ''}."
    )


def _joined(pieces: list[Capture[Summary]]) -> tuple[list[SummarizedCall], list[SkippedCall]]:
    """The calls of a batch that ran in pieces, joined as if it had run in one.

    A call that some pieces lack is left out, as if the batch did not have it. A call whose pieces differ in width
    is listed as skipped.
    """
    if not pieces:
        return [], []
    first, *others = ({call.site: (call.pre, call.post) for call in piece.calls} for piece in pieces)
    joined, uneven = [], []
    for site, pair in first.items():
        pairs = [pair, *(other[site] for other in others if site in other)]
        widths = {(pre.rows.shape[1], post.rows.shape[1]) for pre, post in pairs}
        if len(widths) > 1:
            uneven.append(SkippedCall(site, widths_differ(widths)))
        elif len(pairs) == len(pieces):
            pre, post = (Summary.concatenate(side) for side in zip(*pairs, strict=True))
            joined.append((site, pre, post))
    return joined, uneven
