"""Residual connections: do the two ReLUs of a block separate into two modes, and without shortcuts not?

Two ResNet-20 of half the usual width, one with its shortcuts cut and nothing else changed, learn scikit-learn's
digits, once for every seed, and are analysed on the 512 digits that they never saw.

The question has three answers, from weak to strong. In how many blocks does the second ReLU score higher? Are the
means of first and second ReLUs further apart than twice their pooled standard deviation (Ashman's D > 2)? And has
the density of all scores together, which does not know the groups, two peaks? Two modes are said to be there when
the last two are answered with yes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hf_affscore as ha
from examples.compare_families import trained
from examples.paper.common import Values, main, table
from examples.train_digits_resnet import EPOCHS, HELD_OUT, make_processor
from hf_affscore.assets import DEMO_DATASET
from hf_affscore.comparison.statistics import GRID, density, modes
from hf_affscore.plots.style import COLOURS, new_figure, style

Array = npt.NDArray[np.float64]

KINDS = {"residual": "residual-19", "plain": "plain-19"}
SEEDS = (0, 1, 2, 3)
CLEAN = 2.0  # Ashman's D from which two modes count as separate
QUICK = {"seeds": (0,), "epochs": 4}


def run(seeds: Sequence[int] = SEEDS, epochs: int = EPOCHS) -> Values:
    """Train and analyse both networks with every seed."""
    values: Values = {"seeds": list(seeds), "epochs": epochs, "num_samples": HELD_OUT}
    for kind, network_name in KINDS.items():
        networks = []
        for seed in seeds:
            ((_, network, accuracy),) = trained([network_name], seed=seed, epochs=epochs)
            signature = ha.analyze(
                network,
                DEMO_DATASET,
                processor=make_processor(),
                num_samples=HELD_OUT,
                shuffle=False,
                shrinkage=False,
            )
            _, *blocks = signature.scores.tolist()  # the first ReLU comes before all blocks
            networks.append({"accuracy": accuracy, "first": blocks[::2], "second": blocks[1::2]})
        first, second = (np.concatenate([each[relu] for each in networks]) for relu in ("first", "second"))
        each = [ashman(np.array(one["first"]), np.array(one["second"])) for one in networks]
        values[kind] = {"networks": networks, "ashman_each": each, **separation(first, second)}
        values[kind]["second_higher"] = int((second > first).sum())  # of as many blocks as there are scores
    return values


def separation(first: Array, second: Array) -> Values:
    """How far two groups of scores lie apart, and whether that makes two modes.

    ``overlap`` is the share of pairs, one of each group, that are in the order opposite to the means': 0 for
    groups with a gap between them, 0.5 for groups that are alike.
    """
    above = float((second[:, None] > first).mean())
    distance, peaks = ashman(first, second), modes(np.concatenate([first, second]))
    return {
        "mean_first": float(first.mean()),
        "mean_second": float(second.mean()),
        "ashman": distance,
        "overlap": min(above, 1 - above),
        "peaks": peaks,
        "two_modes": distance > CLEAN and len(peaks) == 2,
    }


def ashman(first: Array, second: Array) -> float:
    """Ashman's D: distance of the means in units of the pooled standard deviation.

    Example:
        >>> ashman(np.array([0.0, 2.0]), np.array([10.0, 12.0]))
        7.071067811865475
    """
    pooled = math.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
    return float(abs(second.mean() - first.mean()) / pooled)


def draw(values: Values) -> Figure:
    """First and second ReLUs as histograms, and the density of both together."""
    with style():
        figure = new_figure(7.5, 3)
        for axes, kind in zip(figure.subplots(1, 2, sharex=True, sharey=True), KINDS, strict=True):
            _histograms(axes, values[kind])
            axes.set_title(f"{kind} ResNet-20: D = {values[kind]['ashman']:.2f}")
            axes.set(xlabel="affinity score", xlim=(0.5, 1))
        figure.axes[0].set_ylabel("density")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _histograms(axes: Axes, kind: Values) -> None:
    groups = {
        relu: np.concatenate([network[relu] for network in kind["networks"]]) for relu in ("first", "second")
    }
    count = sum(map(len, groups.values()))
    for colour, (relu, scores) in zip(COLOURS, groups.items(), strict=False):
        bins = np.linspace(0.5, 1, 26)
        share = np.full(len(scores), 1 / (count * (bins[1] - bins[0])))
        axes.hist(scores, bins, weights=share, color=colour, alpha=0.55, label=f"{relu} ReLU of a block")
    axes.plot(GRID, density(np.concatenate(list(groups.values()))), color="black", label="all, density")


def markdown(values: Values) -> str:
    """Everything that decides about two modes, and per seed what was learned."""
    lines = []
    for kind in KINDS:
        of = values[kind]
        each = [f"{distance:.2f}" for distance in of["ashman_each"]]
        lines.append(
            [
                kind,
                f"{np.mean([network['accuracy'] for network in of['networks']]):.1%}",
                of["mean_first"],
                of["mean_second"],
                f"{of['second_higher']} of {sum(len(network['first']) for network in of['networks'])}",
                f"{of['ashman']:.2f} ({', '.join(each)})",
                of["overlap"],
                ", ".join(f"{peak:.2f}" for peak in of["peaks"]),
                "yes" if of["two_modes"] else "no",
            ]
        )
    header = [
        "ResNet-20",
        "accuracy",
        "mean of first ReLUs",
        "of second",
        "blocks with the second higher",
        "Ashman's D (each seed)",
        "overlap",
    ]
    return table([*header, "peaks of the density", "two modes"], lines)


if __name__ == "__main__":
    main("residual", __doc__)
