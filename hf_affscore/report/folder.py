"""A comparison or a difference as a folder of files: figures as JSON, tables as Markdown and LaTeX, pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from hf_affscore.comparison import Comparison, Difference
from hf_affscore.errors import InputError
from hf_affscore.plots import plot_comparison, plot_difference
from hf_affscore.storage import write_atomically


def save_comparison(comparison: Comparison, folder: str | os.PathLike[str]) -> Path:
    """Write figures, tables and pictures into ``folder`` (made if missing) and return the folder.

    Args:
        comparison: The result of :func:`hf_affscore.compare`.
        folder: Folder for ``comparison.json``, ``comparison.md``, ``comparison.tex`` and one picture per figure,
            as PNG and PDF.

    Raises:
        InputError: The folder cannot be written.
    """
    texts = {
        "comparison.json": json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False),
        "comparison.md": comparison.to_markdown(),
        "comparison.tex": comparison.to_latex(),
    }
    written = _write(texts, Path(folder))
    plot_comparison(comparison, written)
    return written


def save_difference(difference: Difference, folder: str | os.PathLike[str]) -> Path:
    """Write ``difference.json`` and ``difference.png`` into ``folder`` (made if missing) and return the folder.

    Raises:
        InputError: The folder cannot be written.
    """
    text = json.dumps(difference.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    written = _write({"difference.json": text}, Path(folder))
    plot_difference(difference, written / "difference.png")
    return written


def _write(texts: Mapping[str, str], folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise InputError(
            f"The comparison could not be written to {folder}: {error.strerror or error}. "
            "Choose a folder you can write to, with space left."
        ) from error
    return folder
