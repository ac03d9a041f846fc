"""A page about many networks: one self-contained HTML file for any browser, which works offline.

The page consists of a template (``page/``), Apache ECharts (``vendor/``), and the comparison as one JSON document.
Python computes all figures except the alignment of a pair, which the page computes when a pair is chosen: storing
the alignments of all pairs would take far more space than the rest.

A content security policy in the page forbids all requests, and all scripts except its own two, which it identifies
by their hashes. Names from outside enter the page only as JSON, and are shown only as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from hf_affscore.comparison import Comparison
from hf_affscore.comparison.distances import tree
from hf_affscore.comparison.statistics import companions
from hf_affscore.errors import InputError
from hf_affscore.evidence import evidence_of
from hf_affscore.reference import read_reference, unlike
from hf_affscore.signature import Signature, images
from hf_affscore.storage import write_atomically

_SCRIPTS = ("warping.js", "charts.js", "table.js", "main.js")


def write_report(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the page about ``comparison`` to ``path`` and return the path.

    Raises:
        InputError: The file cannot be written, or its name does not end in ``.html``.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} is not the name of a page; expected one that ends in .html.")
    try:
        write_atomically(path, render_report(comparison).encode())
    except OSError as error:
        raise InputError(
            f"The report could not be written to {path}: {error.strerror or error}. "
            "Choose a folder that exists and that you can write to."
        ) from error
    return path


def render_report(comparison: Comparison) -> str:
    """The page as text; the same comparison gives the same page."""
    library = _read("vendor", "echarts.min.js")
    script = "\n".join(_read("page", name) for name in _SCRIPTS)
    parts = {
        "%POLICY%": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {_hash(library)} {_hash(script)}",
        "%STYLE%": _read("page", "page.css"),
        "%DATA%": _json(_document(comparison)),
        "%LIBRARY%": library,
        "%SCRIPT%": script,
    }
    page = _read("page", "page.html")
    # One pass from left to right, so that no placeholder is replaced inside an inserted part.
    for place, part in parts.items():
        before, found, page = page.partition(place)
        assert found, place
        parts[place] = before + part
    return "".join(parts.values()) + page


def _document(comparison: Comparison) -> dict[str, Any]:
    """The data that the page shows."""
    figures = comparison.to_dict()
    return {
        "networks": [
            {**line, "family": family, **_rows(signature), "unlike_reference": unlike(signature)}
            for line, family, signature in zip(
                figures["networks"], comparison.families, comparison.signatures, strict=True
            )
        ],
        "columns": [
            *(["family"] if len(set(comparison.families)) > 1 else []),
            *(str(column) for column in comparison.networks.columns),
        ],
        "reference": _reference(),
        "images": sorted({images(signature) for signature in comparison.signatures}),
        "distances": figures["distances"],
        "tree": tree(comparison.linkage),
        "leaf_order": figures["leaf_order"],
        "correlations": figures["correlation_summary"],
        "warnings": _warnings(comparison),
        "difference": _difference(comparison),
    }


def _warnings(comparison: Comparison) -> list[str]:
    """What the command line says beside its table: why scores of these networks may not be comparable."""
    return [
        *([comparison.mixed_pooling] if comparison.mixed_pooling else []),
        *(f"These signatures were made differently: {each}." for each in comparison.differences),
        *comparison.distance_notes,
    ]


def _reference() -> dict[str, Any]:
    """The scores of well-known networks by depth, as the page draws them."""
    band = read_reference()
    names = ("depth", "lowest", "median", "highest")
    return {"caption": band.caption, **{name: getattr(band, name).round(4).tolist() for name in names}}


def _difference(comparison: Comparison) -> dict[str, Any] | None:
    """What changed between two networks of one architecture; None for other networks."""
    if len(comparison.names) != 2:
        return None
    try:
        return comparison.difference(*comparison.names).to_dict()
    except InputError:  # two architectures
        return None


def _rows(signature: Signature) -> dict[str, Any]:
    """The rows of one network, stored by column, which is far smaller than one record per row."""
    rows = signature.rows
    interval = [name for name in ("affinity_score_low", "affinity_score_high") if rows and name in rows[0]]
    columns = ("affinity_score", *interval, *companions(signature))
    named = {name: [row.get(name) for row in rows] for name in ("module", "activation", "call", "reason")}
    return {
        "verdict": signature.verdict,
        "rows": {**named, "evidence": [evidence_of(row) for row in rows]},
        "statistics": {name: [_number(row[name]) for row in rows] for name in columns},
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _json(document: dict[str, Any]) -> str:
    """JSON that cannot close its HTML element, whatever the names of networks are."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _read(*path: str) -> str:
    return files(__package__).joinpath(*path).read_text(encoding="utf-8")
