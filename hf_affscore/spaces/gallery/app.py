"""The gallery: the report and the pictures about a collection of signatures, and the same figures as JSON.

``python app.py`` serves it on this machine. It starts offline: only the collection itself is fetched, and the
report works offline inside its frame. The first collection is named in ``collection.txt`` beside this file, or by
the environment variable ``AFFSCORE_COLLECTION``, which may also be a local folder, except in a Space. A visitor can
only ask for public repositories on the Hub, not for files of this machine or repositories that its token opens.

Programs ask the endpoints ``/signatures``, ``/signature`` and ``/compare``, which are also tools for agents (MCP)
where the extra ``gradio[mcp]`` is installed. Gradio reads their descriptions from the docstrings here, one line for
each argument.
"""

from __future__ import annotations

import functools
import html
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from matplotlib.figure import Figure

import hf_affscore.comparison as comparisons
from hf_affscore.comparison.comparison import names_of
from hf_affscore.errors import AffscoreError, InputError
from hf_affscore.fileformat import plain
from hf_affscore.plots import plot_correlations, plot_distances, plot_distributions, plot_timeline
from hf_affscore.publish import load_signatures
from hf_affscore.publish.fetch import load_public
from hf_affscore.report import render_report
from hf_affscore.signature import Signature
from hf_affscore.spelling import did_you_mean

_CHOICE = Path(__file__).parent / "collection.txt"

#: What each picture shows, and what draws it.
PICTURES: dict[str, Callable[[comparisons.Comparison], Figure]] = {
    "How often each score occurs in a network; in brackets: the number of scores.": plot_distributions,
    "The median score of each network as a point, and the range from the lowest to the highest.": plot_timeline,
    "Dynamic time warping distances between signatures, and the tree of the closest ones.": plot_distances,
    "How the score goes along with other statistics over the activations of a network; no picture where the "
    "signatures have no other statistics.": plot_correlations,
}

#: The report fills the window below the two rows of the page and scrolls in its frame, so that the page itself does
#: not scroll. On a phone pictures keep a legible size and scroll sideways.
CSS = """
.gradio-container .app { padding: .5rem !important; }
#report .html-container { padding: 0; }
#report iframe { display: block; width: 100%; height: calc(100dvh - 14rem); min-height: 20rem; border: 0; }
.picture { overflow-x: auto !important; }
.picture .matplotlib { display: block; }
.picture img { width: 100%; min-width: 40rem; max-width: 60rem; margin: 0 auto; }
footer { margin: .5rem 0 0 !important; }
"""

EMPTY = "<h1>Non-linearity signatures</h1><p>Name a collection of signatures on the Hub: user/signatures.</p>"

P = ParamSpec("P")
T = TypeVar("T")


def first_collection() -> str:
    """The collection that is shown first; empty if none is named."""
    named = _CHOICE.read_text(encoding="utf-8") if _CHOICE.exists() else ""
    return os.environ.get("AFFSCORE_COLLECTION", named).strip()


def said(function: Callable[P, T]) -> Callable[P, T]:
    """The function, whose errors are shown to visitors and programs as the sentences they are."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except AffscoreError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapper


@said
def show(collection: str) -> list[Any]:
    """The report in a frame, and the pictures; None where there is nothing to draw."""
    comparison = comparisons.compare(_signatures(collection), allow_differences=True)
    pictures = [
        None if draw is plot_correlations and comparison.correlations.empty else draw(comparison)
        for draw in PICTURES.values()
    ]
    return [_frame(render_report(comparison)), *pictures]


@said
def signatures(collection: str = "", request: gr.Request | None = None) -> Any:
    """List the networks of a collection of non-linearity signatures, each with a summary of its affinity scores.

    An affinity score says how close an activation function acts to an affine map on real images: 1 is affine, less
    is more non-linear. The verdict says in words what may be concluded.

    Args:
        collection: Public data set of signatures on the Hub, such as user/signatures; empty: that of this page.
        request: Comes from Gradio.

    Returns:
        One entry for each network: network (its name here), model, dataset, summary, verdict.
    """
    found = _signatures(collection)
    lines = [
        {
            "network": name,
            "model": plain(one.metadata.get("model", {})),
            "dataset": plain(one.metadata.get("dataset", {})),
            "summary": plain(one.summary()),
            "verdict": list(one.verdict),
        }
        for name, one in zip(names_of(found), found, strict=True)
    ]
    return _answer(lines, request)


@said
def signature(network: str, collection: str = "", request: gr.Request | None = None) -> Any:
    """Get one network's signature: the affinity score of each activation in execution order, and how it was made.

    Args:
        network: Name of the network as the endpoint "signatures" lists it, such as microsoft/resnet-50.
        collection: Public data set of signatures on the Hub, such as user/signatures; empty: that of this page.
        request: Comes from Gradio.

    Returns:
        The document with metadata, summary, rows (one for each activation), skipped and verdict.
    """
    (one,) = _chosen(_signatures(collection), [network])
    return _answer({"network": network, **one.to_dict()}, request)


@said
def compare(
    collection: str = "", networks: list[str] | None = None, request: gr.Request | None = None
) -> Any:
    """Compare the networks of a collection: distances between their signatures, similar ones, and correlations.

    Args:
        collection: Public data set of signatures on the Hub, such as user/signatures; empty: that of this page.
        networks: Names as the endpoint "signatures" lists them; none: all of the collection.
        request: Comes from Gradio.

    Returns:
        networks (a summary each), distances (dynamic time warping, in this order), linkage, correlations.
    """
    found = _signatures(collection)
    found = _chosen(found, networks) if networks else found
    return _answer(comparisons.compare(found, allow_differences=True).to_dict(), request)


def _answer(document: Any, request: gr.Request | None) -> Any:
    """The document as JSON. To an agent Gradio would send the text that Python prints, which is no JSON."""
    is_agent = request is not None and request.headers.get("x-gradio-user") == "mcp"
    return json.dumps(document, ensure_ascii=False) if is_agent else document


def _chosen(found: list[Signature], networks: list[str]) -> list[Signature]:
    """The signatures with these names.

    Raises:
        InputError: There is no network with a name.
    """
    known = dict(zip(names_of(found), found, strict=True))
    for name in networks:
        if name not in known:
            raise InputError(
                f"No network is called {name!r}; expected {' or '.join(known)}.{did_you_mean(name, list(known))}"
            )
    return [known[name] for name in networks]


def _signatures(collection: str) -> list[Signature]:
    """The signatures of a public collection, or of the local folder with which the gallery was started."""
    collection = collection.strip() or first_collection()
    is_folder = "SPACE_ID" not in os.environ and Path(os.environ.get("AFFSCORE_COLLECTION", "")).is_dir()
    if is_folder and collection and collection == first_collection():
        return load_signatures(collection)
    return load_public(collection)


def _frame(page: str) -> str:
    """The report in a frame with its own origin, which may run scripts and offer downloads, and nothing else."""
    return f'<iframe title="Report" sandbox="allow-scripts allow-downloads" srcdoc="{html.escape(page)}"></iframe>'


def build() -> gr.Blocks:
    """The page, and the endpoints for programs."""
    first = first_collection()
    page = gr.Blocks(title="Non-linearity signatures", analytics_enabled=False, fill_width=True)
    with page:
        with gr.Row(equal_height=True):
            collection = gr.Textbox(first, label="Collection", placeholder="user/signatures")
            button = gr.Button("Show", variant="primary", scale=0, min_width=96)
        with gr.Tab("Report"):
            report = gr.HTML(None if first else EMPTY, elem_id="report")
        with gr.Tab("Pictures"):
            pictures = []
            for caption in PICTURES:
                pictures.append(gr.Plot(show_label=False, elem_classes="picture"))
                gr.Markdown(caption)
        outputs = [report, *pictures]
        gr.on([button.click, collection.submit], show, collection, outputs, api_visibility="private")
        if first:
            page.load(show, collection, outputs, api_visibility="private")
        for endpoint in (signatures, signature, compare):
            gr.events.api(endpoint)
    return page


def main() -> None:
    """Serve the page; Gradio's environment variables choose host and port."""
    fonts = [("system-ui", "sans-serif"), ("ui-monospace", "monospace")]
    build().launch(
        theme=gr.themes.Default(font=fonts[0], font_mono=fonts[1]),
        css=CSS,
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
