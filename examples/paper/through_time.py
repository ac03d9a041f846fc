"""Networks through time and their distances: the commands for the Hub, run on the checkpoints at hand.

The paper's figures over 33 networks need checkpoints from a Hub. ``checkpoints.txt`` lists 33 that timm keeps
there, of the paper's families, ``checkpoints.csv`` what is published about them, and ``docs/paper.md`` has the two
commands. Here the same two commands run on photographs and on the checkpoints that need no Hub.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from examples.efficientnet_lite0 import make_crops
from examples.paper.common import Values, main, table
from examples.paper.networks import checkpoints
from hf_affscore.cli import main as hf_affscore
from hf_affscore.plots.style import COLOURS, GREY, label, new_figure, style

#: When an architecture was first published.
YEARS = {"digits-resnet": 2015, "mobilenet-v2": 2018, "efficientnet-lite0": 2020}
QUICK = {"num_samples": 16}


def run(num_samples: int = 256, mobilenet: Path | None = None) -> Values:
    """Analyse and compare through the command line; what it wrote is what is read."""
    with tempfile.TemporaryDirectory() as temporary, checkpoints(mobilenet) as found:
        folder = Path(temporary)
        photographs = make_crops(folder / "photographs", num_samples)
        published = folder / "published.csv"
        published.write_text("network,year\n" + "".join(f"{name},{YEARS[name]}\n" for name in found))
        models = [str(checkpoint) for checkpoint in found.values()]
        sample = ["--num-samples", str(num_samples), "--no-shuffle", "--no-cache", "--no-shrinkage"]
        signatures, figures = str(folder / "signatures"), str(folder / "figures")
        command("analyze", *models, "--dataset", str(photographs), *sample, "--output", signatures)
        command("compare", signatures, "--published", str(published), "--output", figures)
        comparison = json.loads((folder / "figures" / "comparison.json").read_text())
    return {
        "num_samples": num_samples,
        "networks": comparison["networks"],
        "distances": comparison["distances"],
        "leaf_order": comparison["leaf_order"],
    }


def command(*arguments: str) -> None:
    """Run ``hf-affscore`` in this process, without what it prints.

    Raises:
        SystemExit: It failed; the message is on stderr.
    """
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            hf_affscore(list(arguments))
        except SystemExit as stop:
            if stop.code:
                raise


def draw(values: Values) -> Figure:
    """Median and range by year, and the distances in the order of the dendrogram."""
    networks = sorted(values["networks"], key=lambda network: network["year"])
    order = values["leaf_order"]
    with style():
        figure = new_figure(8, 3.8)
        left, right = figure.subplots(1, 2)
        for place, network in enumerate(networks):
            if network["median"] is None:  # no score of it is evidence
                continue
            left.vlines(place, network["min"], network["max"], color=GREY, linewidth=1.5)
            left.plot(place, network["median"], "o", color=COLOURS[0])
        left.set(ylim=(0, 1.03), xlim=(-0.7, len(networks) - 0.3), ylabel="affinity score")
        left.set_title("median, minimum and maximum")
        left.set_xticks(
            range(len(networks)), [f"{each['network']}\n{each['year']}" for each in networks], fontsize=7
        )
        distances = np.array(values["distances"])[np.ix_(order, order)]
        image = right.imshow(distances, cmap="cividis_r")
        names = [values["networks"][index]["network"] for index in order]
        label(right.xaxis, names)
        label(right.yaxis, names)
        right.grid(visible=False)
        figure.colorbar(image, ax=right, label="warping distance")
    return figure


def markdown(values: Values) -> str:
    """What the comparison says about each network, with its nearest."""
    networks, distances = values["networks"], np.array(values["distances"])
    np.fill_diagonal(distances, np.inf)
    lines = []
    for network, row in zip(networks, distances, strict=True):
        nearest = networks[int(row.argmin())]["network"]
        figures = [network[column] for column in ("activations", "median", "min", "max")]
        lines.append([network["network"], str(network["year"]), *figures, f"{nearest} ({row.min():.2f})"])
    header = ["network", "year", "activations", "median", "minimum", "maximum", "nearest"]
    return table(header, lines)


if __name__ == "__main__":
    main("through_time", __doc__)
