"""Popular activation functions on normal samples, and ReLU on a range that slides over its kink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.special import expit

import hf_affscore as ha
from examples.paper.common import Values, main, table
from hf_affscore.plots.style import COLOURS, new_figure, style

Array = npt.NDArray[np.float64]


def relu(x: Array) -> Array:
    """The positive part."""
    return np.maximum(x, 0)


#: In the order in which their samples are drawn.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {"relu": relu, "tanh": np.tanh, "sigmoid": expit}
#: What the paper prints for each.
PAPER = {"relu": 0.49, "tanh": 0.67, "sigmoid": 0.77}
#: Number of a sliding range, from 0 to 19, to the score that the paper prints for it.
PAPER_SWEEP = {5: 0.13387674, 8: 0.52627778, 11: 0.79208457, 13: 0.94012433, 15: 0.99998754}
SEED = 987
MEAN, DEVIATION = -1, 2
CENTRES = np.linspace(-4, 4, 20)
HALF_WIDTH = 2
QUICK: dict[str, object] = {}  # it takes milliseconds as it is


def run(num_samples: int = 1000) -> Values:
    """Both experiments, one after the other, from one generator, as the published notebook has them."""
    rng = np.random.RandomState(SEED)  # numpy's old generator: the paper's samples

    scores = {}
    for name, function in FUNCTIONS.items():
        x = rng.normal(MEAN, DEVIATION, (num_samples, 1))
        scores[name] = ha.affinity_score(x, function(x))
    sweep = []
    for centre in CENTRES:
        x = rng.uniform(centre - HALF_WIDTH, centre + HALF_WIDTH, (num_samples, 1))
        sweep.append(ha.affinity_score(x, relu(x)))
    return {
        "seed": SEED,
        "num_samples": num_samples,
        "scores": scores,
        "centres": CENTRES.tolist(),
        "relu_sweep": sweep,
    }


def draw(values: Values) -> Figure:
    """The functions under the density of their inputs, and ReLU's score as the range slides."""
    x = np.linspace(-7, 5, 400)
    density = np.exp(-(((x - MEAN) / DEVIATION) ** 2) / 2)
    with style():
        figure = new_figure(7.5, 3)
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.12})
        left.fill_between(x, density, color="#DDDDDD", label="inputs N(-1, 2²)")
        for colour, (name, score) in zip(COLOURS, values["scores"].items(), strict=False):
            left.plot(x, FUNCTIONS[name](x), color=colour, label=f"{name}: {score:.2f}")
        left.set(xlabel="x", ylabel="activation", ylim=(-1.2, 2.6))
        left.legend(loc="upper left")
        right.plot(values["centres"], values["relu_sweep"], "-o", color=COLOURS[0], markersize=4)
        right.set(xlabel="m, inputs uniform on m ± 2", ylabel="affinity score of ReLU", ylim=(-0.03, 1.05))
        right.axvline(-HALF_WIDTH, color="#888888", linewidth=0.8, linestyle=":")
        right.axvline(HALF_WIDTH, color="#888888", linewidth=0.8, linestyle=":")
    return figure


def markdown(values: Values) -> str:
    """Score by function and by place of the sliding range, beside the paper's."""
    lines = [
        [f"{name} on N(-1, 2²)", f"{printed:.2f}", values["scores"][name]] for name, printed in PAPER.items()
    ]
    for index, printed in PAPER_SWEEP.items():
        label = f"relu on {values['centres'][index]:.2f} ± {HALF_WIDTH}"
        lines.append([label, f"{printed:.3f}", values["relu_sweep"][index]])
    return table(["activation", "paper", "here"], lines)


if __name__ == "__main__":
    main("activation_functions", __doc__)
