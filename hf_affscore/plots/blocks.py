"""A picture of a signature of blocks: with and without the residual stream, and how much each block changes."""

from __future__ import annotations

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_affscore.plots.style import COLOURS, GREY, new_figure, plain, save, style
from hf_affscore.signature import Signature, images
from hf_affscore.summary import column


def plot_blocks(signature: Signature, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the held-out R2 of every block and part, and below it the norm of what each block adds.

    Filled points are blocks with their residual stream, hollow ones are updates, without it; attention and MLP have
    markers of their own. R2 below 0 is drawn at 0.

    Args:
        signature: The signature to draw, of blocks.
        path: File to save the picture to; the suffix (``.png``, ``.svg``, ``.pdf``) selects the format.

    Raises:
        InputError: ``path`` has another suffix or cannot be written.
    """
    rows = signature.rows
    at = np.arange(len(rows))
    values = {name: column(rows, name) for name in ("r2_heldout", "r2_heldout_update", "update_norm")}
    parts = np.array([row.part for row in rows])
    with style():
        figure = new_figure(float(np.clip(4 + 0.12 * len(rows), 7, 14)), 4.6)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        whole = np.clip(values["r2_heldout"], 0, 1)
        top.plot(at, whole, "o", color=COLOURS[0], markersize=5, label="block")
        markers = {
            "block": ("o", "update of the block"),
            "attention": ("^", "attention"),
            "mlp": ("s", "MLP"),
        }
        for number, (part, (marker, label)) in enumerate(markers.items()):
            chosen = parts == part
            if not chosen.any():
                continue
            colour = COLOURS[number]
            update = np.clip(values["r2_heldout_update"], 0, 1)
            top.plot(at[chosen], update[chosen], marker, color=colour, mfc="white", markersize=5, label=label)
            bottom.plot(
                at[chosen], values["update_norm"][chosen], marker, color=colour, mfc="white", markersize=5
            )
        top.set(ylim=(-0.03, 1.03), ylabel="held-out R2 (1 = affine)")
        top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
        depth = signature.summary()
        top.set_title(
            f"{plain(signature.name, 60)}\n{plain(images(signature), 60)}; effective depth "
            f"{depth['effective_depth']:.2f} of {depth['blocks']} blocks",
            pad=24,
        )
        bottom.axhline(0, color=GREY, linewidth=0.8)
        bottom.set(ylabel="norm of the update", xlabel="index of the block or part, in execution order")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    if path is not None:
        save(figure, path)
    return figure
