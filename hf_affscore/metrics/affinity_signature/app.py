"""The page of the Space: scores a pair of arrays, or a checkpoint on images, and draws the map and the signature.

``python app.py`` serves it on this machine. It starts offline: it uses the browser's fonts, has no analytics, and
the first example and the demo network come with the package.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.evidence import too_few_given
from hf_affscore.hub import public_commit
from hf_affscore.options import Options
from hf_affscore.plots.style import COLOURS, GREY, new_figure, style
from hf_affscore.run.analyze import analyze
from hf_affscore.score import affinity
from hf_affscore.score.gaussian import Gaussian
from hf_affscore.score.sample import Sample
from hf_affscore.signature import Signature, call_name

Rows = npt.NDArray[np.float64]

MOST_IMAGES = 128  # images of a data set: enough to see a signature's shape, few enough for a fast response
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
    reason = found.flag or too_few_given(*pre.shape)
    note = f" Note: {reason}." if reason else ""
    sentence = f"## Affinity score {found.score:.4f}\nSamples: {len(pre)}, features: {pre.shape[1]}.{note}"
    return sentence, draw_map(pre, post)


def score_checkpoint(
    model: str, dataset: str, files: list[str] | None
) -> tuple[str, Figure, list[list[str | float]]]:
    """The summary of a signature as a sentence, the signature as a picture and as rows of a table."""
    try:
        signature = analyse(model.strip(), dataset.strip(), files or [])
    except AffscoreError as error:
        raise gr.Error(str(error)) from error
    summary = signature.summary()
    sentence = (
        f"## Median {summary['median']:.4f}\n{summary['count']} activations, "
        f"from {summary['min']:.4f} to {summary['max']:.4f}. {' '.join(signature.verdict)}"
    )
    table: list[list[str | float]] = [
        [call_name(row), row.activation, row.dim, round(row.affinity_score, 4)] for row in signature.rows
    ]
    return sentence, signature.plot(), table


def analyse(model: str, dataset: str, files: list[str]) -> Signature:
    """The signature of a checkpoint on uploaded images or on a data set; empty names stand for the demo's.

    Names must be public on the Hub: a visitor can read neither this machine nor repositories that its token opens.
    """
    revision = public_commit("model", model) if model not in ("", str(DEMO_MODEL)) else None
    named = not files and dataset not in ("", str(DEMO_DATASET))
    dataset_revision = public_commit("dataset", dataset) if named else None
    images: Any = dataset or DEMO_DATASET
    if files:
        try:
            images = [Image.open(file) for file in files]
        except OSError as error:
            raise InputError(f"An uploaded file is no image: {error}. Upload PNG or JPEG files.") from error
    return analyze(
        model or DEMO_MODEL,
        images,
        num_samples=max(2, len(files)) if files else MOST_IMAGES,
        revision=revision,
        dataset_revision=dataset_revision,
        token=False,
        progress=False,
    )


def read_rows(side: str, text: str, file: str | None) -> Rows:
    """Rows from an uploaded file (.npy or text) if there is one, else from the pasted text."""
    try:
        if file is None:
            return parse_rows(text)
        if Path(file).suffix == ".npy":
            rows: Rows = np.atleast_2d(np.load(file, allow_pickle=False).astype(np.float64).T).T
            return rows
        return parse_rows(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"The array {side} the activation cannot be read: {error}. Expected numbers, one row per sample, "
            "separated by commas or spaces, or a .npy file."
        ) from error


def parse_rows(text: str) -> Rows:
    r"""Lines of numbers, separated by commas or spaces, as an array of shape ``(n, d)``.

    Example:
        >>> parse_rows("1, 2\n3 4")
        array([[1., 2.],
               [3., 4.]])
    """
    if not text.strip():
        raise ValueError("there is nothing in it")
    return np.loadtxt(io.StringIO(text.replace(",", " ")), ndmin=2)


def draw_map(pre: Rows, post: Rows) -> Figure:
    """The affine transport map: as a line through the samples, or its matrix where there are many features."""
    before, after = (
        Gaussian.fit(Sample(rows), shrinkage=False, regularization=Options().regularization)
        for rows in (pre, post)
    )
    matrix = before.affine_map_to(after).matrix
    with style():
        figure = new_figure(5.5, 4.2)
        axes = figure.add_subplot()
        if pre.shape[1] == 1:
            ends = np.array([[pre.min()], [pre.max()]])
            axes.plot(pre, post, ".", color=COLOURS[0], label="samples")
            axes.plot(
                ends, (ends - pre.mean(axis=0)) @ matrix + post.mean(axis=0), color=GREY, label="affine map"
            )
            axes.set(xlabel="before", ylabel="after")
            axes.legend()
        else:
            limit = float(abs(matrix).max())
            picture = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set(title="matrix of the affine map", xlabel="feature before", ylabel="feature after")
            axes.grid(visible=False)
            figure.colorbar(picture)
    return figure


def build() -> gr.Blocks:
    """The page."""
    page = gr.Blocks(title="Affinity score", analytics_enabled=False)
    with page:
        gr.Markdown(
            "# Affinity score\nHow close an activation function is to an affine map on the data it sees: 1 is "
            "affine, smaller is more non-linear ([Bouniot et al., CVPR 2025](https://arxiv.org/abs/2310.11439))."
        )
        with gr.Tab("Arrays"):
            _arrays_tab()
        with gr.Tab("Checkpoint"):
            _checkpoint_tab()
    return page


def _arrays_tab() -> None:
    texts, files = [], []
    with gr.Row():
        for example, side in zip(EXAMPLE, ("before", "after"), strict=True):
            with gr.Column():
                texts.append(gr.Textbox(example, label=f"Rows {side} the activation", lines=8, max_lines=8))
                files.append(
                    gr.File(label=f"or a file: rows {side}", file_types=[".npy", ".csv", ".txt"], height=160)
                )
    button = gr.Button("Score the arrays", variant="primary")
    button.click(score_arrays, [*texts, *files], [gr.Markdown(), gr.Plot(show_label=False)])


def _checkpoint_tab() -> None:
    with gr.Row():
        model = gr.Textbox(
            label="Checkpoint (Hub id)", placeholder="a small network that comes with the page"
        )
        dataset = gr.Textbox(label="Images: data set (Hub id)", placeholder="512 handwritten digits")
    files = gr.File(label="or images to upload", file_count="multiple", file_types=["image"], height=160)
    button = gr.Button("Score the checkpoint", variant="primary")
    sentence, picture = gr.Markdown(), gr.Plot(show_label=False)
    table = gr.Dataframe(headers=["module", "activation", "width", "score"])
    button.click(score_checkpoint, [model, dataset, files], [sentence, picture, table])


def main() -> None:
    """Serve the page; Gradio's environment variables choose host and port."""
    fonts = [("system-ui", "sans-serif"), ("ui-monospace", "monospace")]
    theme = gr.themes.Default(font=fonts[0], font_mono=fonts[1])
    build().launch(theme=theme)


if __name__ == "__main__":
    main()
