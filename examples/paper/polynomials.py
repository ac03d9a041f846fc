"""Polynomials x^k on [-1, 1]: the higher the order, the further from an affine map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

import hf_affscore as ha
from examples.paper.common import Values, main, table
from hf_affscore.plots.style import COLOURS, new_figure, style

#: Order of the polynomial to the score that the paper prints.
PAPER = {1: 1.0, 3: 0.71, 5: 0.58, 11: 0.4, 21: 0.29, 41: 0.2}
QUICK: dict[str, object] = {}  # it takes milliseconds as it is


def run(orders: Sequence[int] = tuple(PAPER), num_samples: int = 1000) -> Values:
    """The score of every order on evenly spaced points, in float32 as in the paper."""
    x = np.linspace(-1, 1, num_samples, dtype=np.float32)
    scores = {order: ha.affinity_score(x, x**order) for order in orders}
    return {"num_samples": num_samples, "scores": scores}


def draw(values: Values) -> Figure:
    """Every polynomial, and the score of each."""
    x = np.linspace(-1, 1, 400)
    with style():
        figure = new_figure(7, 3)
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.12})
        for colour, (order, score) in zip(COLOURS, values["scores"].items(), strict=False):
            left.plot(x, x ** int(order), color=colour)
            right.plot(int(order), score, "o", color=colour)
            name = f"$x^{{{order}}}$: {score:.2f}"
            right.annotate(name, (int(order), score), (6, 3), textcoords="offset points", color=colour)
        left.set(xlabel="x", ylabel="polynomial")
        right.set(xlabel="order", ylabel="affinity score", ylim=(0, 1.08), xlim=(-1, 52))
    return figure


def markdown(values: Values) -> str:
    """Score by order, beside the paper's."""
    scores = values["scores"]
    lines = [[f"x^{order}", f"{printed:.2f}", scores[str(order)]] for order, printed in PAPER.items()]
    return table(["polynomial", "paper", "here"], lines)


if __name__ == "__main__":
    main("polynomials", __doc__)
