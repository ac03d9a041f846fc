"""Is the score another measure in disguise? Its correlation with the statistics recorded beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

import hf_affscore as ha
from examples.compare_families import named, trained
from examples.paper.common import Values, main, table
from examples.paper.networks import checkpoints, own_images, signature
from examples.train_digits_resnet import EPOCHS, make_processor
from hf_affscore.assets import DEMO_DATASET
from hf_affscore.plots.style import COLOURS, GREY, new_figure, style

#: Mean and deviation over the paper's 33 networks. It does not say whether before or after the activation.
PAPER = {
    "cka": (0.33, 0.47),
    "norm": (-0.46, 0.34),
    "sparsity": (-0.35, 0.43),
    "entropy": (-0.31, 0.41),
    "r2": (0.08, 0.53),
}
#: Small networks of other families, trained here (see ``examples/compare_families.py``).
TRAINED = ("plain-13", "vit-4", "mixer-8")
QUICK = {"names": ("vit-4", "mixer-8"), "epochs": 1, "num_samples": 160}


def run(
    names: Sequence[str] = TRAINED,
    epochs: int = EPOCHS,
    num_samples: int = 512,
    mobilenet: Path | None = None,
) -> Values:
    """Correlations within each network, and their mean and deviation over networks."""
    signatures = []
    with checkpoints(mobilenet) as found:
        for name, checkpoint in found.items():
            images = own_images(name, num_samples)
            signatures.append(named(signature(checkpoint, images, num_samples), name))
    for name, network, _ in trained(names, epochs=epochs):
        made = signature(network, DEMO_DATASET, num_samples, processor=make_processor())
        signatures.append(named(made, name))
    comparison = ha.compare(signatures, allow_differences=True)  # digits and photographs: within, not across
    return {
        "num_samples": num_samples,
        "epochs": epochs,
        "activations": {each.name: len(each.rows) for each in signatures},
        "correlations": comparison.correlations.to_dict(orient="index"),
        "summary": {
            name: figures
            for name, figures in comparison.correlation_summary().to_dict(orient="index").items()
            if _in_paper(name) in PAPER
        },
    }


def published(statistic: str) -> tuple[float, float]:
    """What the paper has for a column: entropy and sparsity have two columns here and one there."""
    return PAPER[_in_paper(statistic)]


def _in_paper(statistic: str) -> str:
    """The name there of a column here."""
    return statistic.removesuffix("_pre").removesuffix("_post")


def draw(values: Values) -> Figure:
    """Every network as a point, mean and deviation here, and those of the paper."""
    statistics = list(values["summary"])
    with style():
        figure = new_figure(8, 3.8)
        axes = figure.add_subplot()
        axes.axhline(0, color=GREY, linewidth=0.8)
        for place, statistic in enumerate(statistics):
            points = [each[statistic] for each in values["correlations"].values()]
            axes.plot([place - 0.1] * len(points), points, "o", color=GREY, markersize=3.5, label="a network")
            here = values["summary"][statistic]
            for offset, colour, label, (mean, deviation) in (
                (0.08, COLOURS[0], "mean and deviation here", (here["mean"], here["std"])),
                (0.26, COLOURS[1], "in the paper, 33 networks", published(statistic)),
            ):
                axes.errorbar(place + offset, mean, deviation, fmt="s", color=colour, capsize=3, label=label)
        axes.set(ylim=(-1.05, 1.05), ylabel="correlation with the score")
        axes.set_xticks(range(len(statistics)), [name.replace("_", "\n") for name in statistics])
        handles, labels = axes.get_legend_handles_labels()
        first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
        figure.legend(first.values(), first.keys(), loc="outside lower center", ncols=3)
    return figure


def markdown(values: Values) -> str:
    """Mean and deviation here and in the paper, and each network."""
    networks = list(values["correlations"])
    lines = []
    for statistic, here in values["summary"].items():
        mean, deviation = published(statistic)
        each = [values["correlations"][network][statistic] for network in networks]
        lines.append(
            [
                statistic.replace("_", " "),
                f"{mean:+.2f} ± {deviation:.2f}",
                f"{here['mean']:+.2f} ± {here['std']:.2f}",
                *(f"{value:+.2f}" for value in each),
            ]
        )
    return table(["statistic", "paper", "here", *networks], lines)


if __name__ == "__main__":
    main("companions", __doc__)
