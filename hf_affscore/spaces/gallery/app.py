"""The gallery: shows the report and the pictures of the comparison of a collection of signatures.

``python app.py`` serves it on this machine. It starts offline: only the collection itself is fetched, and the
report works offline inside its frame. The first collection is named in ``collection.txt`` beside this file, or by
the environment variable ``AFFSCORE_COLLECTION``, which may also be a local folder, except in a Space. A visitor can
only ask for public repositories on the Hub, not for files of this machine or repositories that its token opens.
"""

from __future__ import annotations

import html
import os
from pathlib import Path

import gradio as gr
from matplotlib.figure import Figure

from hf_affscore.comparison import compare
from hf_affscore.errors import AffscoreError
from hf_affscore.plots import plot_correlations, plot_distances, plot_distributions, plot_timeline
from hf_affscore.publish import load_signatures
from hf_affscore.publish.fetch import load_public
from hf_affscore.report import render_report
from hf_affscore.signature import Signature

FRAME_HEIGHT = 900  # pixels; the report scrolls inside
_CHOICE = Path(__file__).parent / "collection.txt"

View = tuple[str, Figure, Figure, Figure, Figure | None]


def first_collection() -> str:
    """The collection that is shown first; empty if none is named."""
    named = _CHOICE.read_text(encoding="utf-8") if _CHOICE.exists() else ""
    return os.environ.get("AFFSCORE_COLLECTION", named).strip()


def show(collection: str) -> View:
    """The report in a frame, and the pictures."""
    try:
        comparison = compare(_signatures(collection.strip()), allow_differences=True)
    except AffscoreError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return (
        _frame(render_report(comparison)),
        plot_distributions(comparison),
        plot_timeline(comparison),
        plot_distances(comparison),
        None if comparison.correlations.empty else plot_correlations(comparison),
    )


def _signatures(collection: str) -> list[Signature]:
    """The signatures of a public collection, or of the local folder with which the gallery was started."""
    is_folder = "SPACE_ID" not in os.environ and Path(os.environ.get("AFFSCORE_COLLECTION", "")).is_dir()
    if is_folder and collection and collection == first_collection():
        return load_signatures(collection)
    return load_public(collection)


def _frame(page: str) -> str:
    """The report in a frame with its own origin, which may run scripts and offer downloads, and nothing else."""
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
