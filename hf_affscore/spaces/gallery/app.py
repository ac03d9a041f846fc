"""The gallery: a collection of signatures in, the report and the pictures of its comparison out.

``python app.py`` serves it on this machine. It starts without the network: nothing is fetched from elsewhere
but the collection itself, and the report works offline inside its frame. The collection shown first is named in
``collection.txt`` beside this file, or by the environment variable ``AFFSCORE_COLLECTION``, which may also be a
local folder; what a visitor asks for has to be a repository on the Hub, so that no visitor reads this machine.
"""

from __future__ import annotations

import html
import os
from pathlib import Path

import gradio as gr
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from matplotlib.figure import Figure

from hf_affscore.comparison import compare
from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.plots import plot_correlations, plot_distances, plot_distributions, plot_timeline
from hf_affscore.report import render_report

FRAME_HEIGHT = 900  # pixels; the report scrolls inside
_CHOICE = Path(__file__).parent / "collection.txt"

View = tuple[str, Figure, Figure, Figure, Figure | None]


def first_collection() -> str:
    """The collection to show before anyone asks for one; empty if none was named."""
    named = _CHOICE.read_text(encoding="utf-8") if _CHOICE.exists() else ""
    return os.environ.get("AFFSCORE_COLLECTION", named).strip()


def show(collection: str) -> View:
    """The report in a frame, and the pictures."""
    try:
        comparison = compare([_allowed(collection.strip())], allow_differences=True)
    except AffscoreError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return (
        _frame(render_report(comparison)),
        plot_distributions(comparison),
        plot_timeline(comparison),
        plot_distances(comparison),
        None if comparison.correlations.empty else plot_correlations(comparison),
    )


def _allowed(collection: str) -> str:
    """The collection, if a visitor may ask for it: a repository's name, or what this gallery was started with."""
    try:
        validate_repo_id(collection)
    except HFValidationError as error:
        if collection and collection == first_collection():
            return collection
        raise InputError(
            f"{collection!r} is no repository; expected a data set such as user/signatures."
        ) from error
    return collection


def _frame(page: str) -> str:
    """The report in a frame of its own origin: it may run its scripts and offer downloads, and no more."""
    return (
        f'<iframe title="Report" sandbox="allow-scripts allow-downloads" srcdoc="{html.escape(page)}" '
        f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
    )


def build() -> gr.Blocks:
    """The page."""
    first = first_collection()
    page = gr.Blocks(title="Non-linearity signatures", analytics_enabled=False)
    with page:
        gr.Markdown(
            "# Non-linearity signatures\nVision networks side by side by the affinity scores of their activation "
            "functions ([Bouniot et al., CVPR 2025](https://arxiv.org/abs/2310.11439))."
        )
        with gr.Row(equal_height=True):
            collection = gr.Textbox(first, label="Collection", placeholder="user/signatures", scale=4)
            button = gr.Button("Show", variant="primary", scale=1)
        with gr.Tab("Explore"):
            report = gr.HTML()
        with gr.Tab("Pictures"):
            pictures = [gr.Plot(show_label=False) for _ in range(4)]
        outputs = [report, *pictures]
        gr.on([button.click, collection.submit], show, collection, outputs)
        if first:
            page.load(show, collection, outputs)
    return page


def main() -> None:
    """Serve the page; Gradio's environment variables choose host and port."""
    fonts = [("system-ui", "sans-serif"), ("ui-monospace", "monospace")]
    build().launch(theme=gr.themes.Default(font=fonts[0], font_mono=fonts[1]))


if __name__ == "__main__":
    main()
