"""The page of the Space: a pair of arrays, or a checkpoint and images, in; score, map and signature out.

``python app.py`` serves it on this machine. It starts without the network: fonts are the browser's, nothing is
counted, and the first example and the demo network come with the package.
"""

from __future__ import annotations

import io
from pathlib import Path

import gradio as gr
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.plots.style import COLOURS, GREY, new_figure, style
from hf_affscore.score import affinity
from hf_affscore.score.gaussian import Gaussian
from hf_affscore.signature import Signature
from hf_affscore.tables import call_name

Rows = npt.NDArray[np.float64]

DEMO_IMAGES = 128
_INPUTS = np.linspace(-2, 2, 41)
EXAMPLE = ("\n".join(f"{x:.1f}" for x in _INPUTS), "\n".join(f"{max(x, 0):.1f}" for x in _INPUTS))


def score_arrays(
    pre_text: str, post_text: str, pre_file: str | None, post_file: str | None
) -> tuple[str, Figure]:
    """The score of two arrays as a sentence, and the affine map between them as a picture."""
    try:
        pre = read_rows("before", pre_text, pre_file)
        post = read_rows("after", post_text, post_file)
        found = affinity(pre, post)
    except InputError as error:
        raise gr.Error(f"{error} (pre is before the activation, post after it.)") from error
    note = f" Note: {found.flag}." if found.flag else ""
    sentence = f"## Affinity score {found.score:.4f}\n{len(pre)} samples of {pre.shape[1]} features.{note}"
    return sentence, draw_map(pre, post)


def score_checkpoint(model: str, files: list[str] | None) -> tuple[str, Figure, list[list[str | float]]]:
    """The summary of a signature as a sentence, the signature as a picture and as rows of a table."""
    try:
        signature = analyse(model.strip(), files or [])
    except AffscoreError as error:
        raise gr.Error(str(error)) from error
    summary = signature.summary()
    sentence = (
        f"## Median {summary['median']:.4f}\n{summary['count']} activations, "
        f"from {summary['min']:.4f} to {summary['max']:.4f}."
    )
    table: list[list[str | float]] = [
        [call_name(row), row.activation, row.dim, round(row.affinity_score, 4)] for row in signature.rows
    ]
    return sentence, signature.plot(), table


def analyse(model: str, files: list[str]) -> Signature:
    """The signature of a checkpoint on uploaded images; the demo's where one of them is left empty."""
    if not files:
        return ha.analyze(model or DEMO_MODEL, DEMO_DATASET, num_samples=DEMO_IMAGES, progress=False)
    try:
        images = [Image.open(file) for file in files]
    except OSError as error:
        raise InputError(f"An uploaded file is no image that can be read: {error}. Upload PNG or JPEG.") from error
    return ha.analyze(model or DEMO_MODEL, images, num_samples=max(2, len(images)), progress=False)


def read_rows(side: str, text: str, file: str | None) -> Rows:
    """Rows from an uploaded file (.npy, or text) where there is one, else from what was pasted."""
    try:
        if file is None:
            return parse_rows(text)
        if Path(file).suffix == ".npy":
            rows: Rows = np.atleast_2d(np.load(file, allow_pickle=False).astype(np.float64).T).T
            return rows
        return parse_rows(Path(file).read_text())
    except ValueError as error:
        raise InputError(
            f"The array {side} the activation cannot be read: {error}. Expected numbers, one row per sample, "
            "separated by commas or spaces, or a .npy file."
        ) from error


def parse_rows(text: str) -> Rows:
    """Lines of numbers, separated by commas or spaces, as an array of shape ``(n, d)``.

    Example:
        >>> parse_rows("1, 2\\n3 4")
        array([[1., 2.],
               [3., 4.]])
    """
    if not text.strip():
        raise ValueError("there is nothing in it")
    return np.loadtxt(io.StringIO(text.replace(",", " ")), ndmin=2)


def draw_map(pre: Rows, post: Rows) -> Figure:
    """The affine transport map: as a line through the samples, or its matrix where there are many features."""
    found = Gaussian.fit(pre).affine_map_to(Gaussian.fit(post))
    with style():
        figure = new_figure(5.5, 4.2)
        axes = figure.add_subplot()
        if pre.shape[1] == 1:
            ends = np.array([[pre.min()], [pre.max()]])
            axes.plot(pre, post, ".", color=COLOURS[0], label="samples")
            axes.plot(ends, found(ends), color=GREY, label="affine map")
            axes.set(xlabel="before", ylabel="after")
            axes.legend()
        else:
            limit = float(abs(found.matrix).max())
            picture = axes.imshow(found.matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set(title="matrix of the affine map", xlabel="feature before", ylabel="feature after")
            axes.grid(visible=False)
            figure.colorbar(picture)
    return figure


def build() -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="Affinity score", analytics_enabled=False) as page:
        gr.Markdown(
            "# Affinity score\nHow close an activation function is to an affine map on the data it sees: 1 is "
            "affine, smaller is more non-linear ([Bouniot et al., CVPR 2025](https://arxiv.org/abs/2310.11439))."
        )
        with gr.Tab("Arrays"):
            with gr.Row():
                texts = [
                    gr.Textbox(EXAMPLE[i], label=f"Rows {side} the activation", lines=8, max_lines=8)
                    for i, side in enumerate(("before", "after"))
                ]
            with gr.Row():
                uploads = [
                    gr.File(label=f"or a file with the rows {side}", file_types=[".npy", ".csv", ".txt"], height=100)
                    for side in ("before", "after")
                ]
            button = gr.Button("Score the arrays", variant="primary")
            button.click(score_arrays, [*texts, *uploads], [gr.Markdown(), gr.Plot(label="Affine map")])
        with gr.Tab("Checkpoint"):
            model = gr.Textbox(label="Checkpoint", placeholder="microsoft/resnet-18 (empty: a small demo network)")
            images = gr.File(
                label=f"Images (none: {DEMO_IMAGES} handwritten digits)", file_count="multiple", file_types=["image"]
            )
            button = gr.Button("Score the checkpoint", variant="primary")
            table = gr.Dataframe(headers=["module", "activation", "width", "score"], render=False)
            button.click(
                score_checkpoint, [model, images], [gr.Markdown(), gr.Plot(label="Signature"), table.render()]
            )
    return page


def main() -> None:
    """Serve the page; Gradio's environment variables choose host and port."""
    fonts = [("system-ui", "sans-serif"), ("ui-monospace", "monospace")]
    theme = gr.themes.Default(font=fonts[0], font_mono=fonts[1])
    build().launch(theme=theme)


if __name__ == "__main__":
    main()
