"""Every result of the paper, and two experiments besides: what it is there, and what came out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from examples.paper.common import Values

Documents = Mapping[str, Values]  # the values of every experiment, by its name


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        shows: What the figure of the paper shows.
        reproduced: Whether it is here: yes, partly, no.
        there: The paper's values.
        here: From the values of all experiments to what to say about them.
        command: What makes it.
        missing: What is not as in the paper, and why.
    """

    shows: str
    reproduced: str
    there: str
    here: Callable[[Documents], str]
    command: str
    missing: str = ""


def example(name: str) -> str:
    """The command of an experiment."""
    return f"`python -m examples.paper.{name}`"


def _polynomials(documents: Documents) -> str:
    return ", ".join(f"{score:.2f}" for score in documents["polynomials"]["scores"].values())


def _activations(documents: Documents) -> str:
    values = documents["activation_functions"]
    scores = ", ".join(f"{score:.2f}" for score in values["scores"].values())
    return f"{scores}; ReLU {min(values['relu_sweep']):.2f} to {max(values['relu_sweep']):.2f}"


def _input_range(documents: Documents) -> str:
    scores = documents["input_range"]["scores"]
    lowest = {name: min(curves["relative"]) for name, curves in scores.items()}
    first, last = min(lowest, key=lowest.__getitem__), max(lowest, key=lowest.__getitem__)
    return (
        f"{len(scores)} functions, lowest scores {lowest[first]:.2f} ({first}) to {lowest[last]:.2f} ({last})"
    )


def _medians(documents: Documents) -> str:
    networks = documents["through_time"]["networks"]
    return "medians " + ", ".join(f"{each['network']} {each['median']:.2f}" for each in networks)


def _distances(documents: Documents) -> str:
    values = documents["through_time"]
    distances = np.array(values["distances"])
    above = distances[np.triu_indices(len(distances), 1)]
    return f"{len(distances)} networks, {above.min():.2f} to {above.max():.2f} apart"


def _companions(documents: Documents) -> str:
    values = documents["companions"]
    parts = [
        f"{name.replace('_', ' ')} {here['mean']:+.2f} ± {here['std']:.2f}"
        for name, here in values["summary"].items()
    ]
    return f"{', '.join(parts)}; {len(values['correlations'])} networks"


def _residual(documents: Documents) -> str:
    values = documents["residual"]
    parts = []
    for kind in ("residual", "plain"):
        of = values[kind]
        peaks = f"{len(of['peaks'])} peak{'s' * (len(of['peaks']) > 1)}"
        means = f"means {of['mean_first']:.2f} and {of['mean_second']:.2f}"
        parts.append(f"{kind}: {means}, D = {of['ashman']:.2f}, {peaks}")
    return "; ".join(parts)


def _redshift(documents: Documents) -> str:
    parts = []
    for kind in documents["redshift"]["networks"]:
        times = "" if kind["scale"] == 1 else kind["scale"]
        parts.append(f"{kind['activation']} ±{times}s {np.mean(kind['mean_score']):.2f}")
    return f"mean scores: {', '.join(parts)}"


def _inputs(documents: Documents) -> str:
    parts = []
    for name, scores in documents["inputs"]["networks"].items():
        medians = ", ".join(f"{kind} {np.median(each):.2f}" for kind, each in scores.items())
        parts.append(f"{name}: {medians}")
    return f"medians {'; '.join(parts)}"


def _random(documents: Documents) -> str:
    parts = []
    for name, by_ridge in documents["trained_or_random"]["networks"].items():
        scores = by_ridge["relative"]
        trained, drawn = np.median(scores["trained"]), np.median(scores["random"])
        parts.append(f"{name} {trained:.2f} trained, {drawn:.2f} random")
    return f"medians {'; '.join(parts)} (relative ridge)"


def _robustness(documents: Documents) -> str:
    parts = []
    for name, by_what in documents["robustness"]["networks"].items():
        deviations = np.std(list(by_what["seeds"].values()), axis=0)
        parts.append(f"{name} {np.median(deviations):.3f}, at most {deviations.max():.3f}")
    return f"standard deviation of a score over draws: {'; '.join(parts)}"


HUB = "the 33 checkpoints need a Hub: [commands](#networks-through-time-and-their-distances)"

#: In the order of the paper, and then what it prints no values of.
FIGURES = (
    Figure(
        "Polynomials x^k, k = 1, 3, 5, 11, 21, 41",
        "yes",
        "1.0, 0.71, 0.58, 0.4, 0.29, 0.2",
        _polynomials,
        example("polynomials"),
    ),
    Figure(
        "ReLU, tanh, sigmoid on N(-1, 2²); ReLU on a sliding range",
        "yes",
        "0.49, 0.67, 0.77; 0.13 to 1.0",
        _activations,
        example("activation_functions"),
    ),
    Figure(
        "Signature of a network",
        "yes",
        "picture",
        lambda documents: "[picture](images/efficientnet_lite0.png)",
        "`python -m examples.reference`",
    ),
    Figure(
        "Networks through time: median, minimum, maximum",
        "partly",
        "medians from 0.11 (vit_h_14) to 0.93 (efficientnet)",
        _medians,
        example("through_time"),
        HUB,
    ),
    Figure(
        "Distribution of the scores in one network",
        "yes",
        "picture",
        lambda documents: "[pictures](families.md#shortcuts-make-two-modes)",
        "`hf-affscore compare`",
    ),
    Figure(
        "Warping distances: heat map and dendrogram",
        "partly",
        "families cluster together",
        lambda documents: f"{_distances(documents)}; [ten networks](families.md)",
        f"{example('through_time')}, `python -m examples.compare_families`",
        HUB,
    ),
    Figure(
        "Correlation with companion statistics",
        "partly",
        "CKA +0.33 ± 0.47, norm -0.46 ± 0.34, sparsity -0.35 ± 0.43, entropy -0.31 ± 0.41, "
        "R² +0.08 ± 0.53; 33 networks",
        _companions,
        example("companions"),
        HUB,
    ),
    Figure(
        "Residual against plain ResNet-20",
        "partly",
        "residual: two modes, about 0.53 and 0.9; plain: not",
        _residual,
        example("residual"),
        "half the width, and digits: the groups are there, [the gap is not](#residual-connections)",
    ),
    Figure(
        "Neural redshift: random MLPs on a grid",
        "yes",
        "pictures",
        _redshift,
        example("redshift"),
    ),
    Figure(
        "Other inputs: CIFAR-10, CIFAR-100, Fashion-MNIST, ImageNet, noise",
        "partly",
        "-",
        _inputs,
        example("inputs"),
        "no data sets without a Hub but digits, photographs and noise",
    ),
    Figure(
        "Weights pretrained or random",
        "partly",
        "-",
        _random,
        example("trained_or_random"),
        HUB,
    ),
    Figure(
        "Score against input range, all activations",
        "yes",
        "-",
        _input_range,
        example("input_range"),
    ),
    Figure(
        "Robustness to samples, seeds and pooling",
        "yes",
        "-",
        _robustness,
        example("robustness"),
    ),
)
