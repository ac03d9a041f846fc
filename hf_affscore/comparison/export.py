r"""Data frames as Markdown and as LaTeX, with every name escaped.

Floats have three decimals, counts have thousands separators, lists are joined by commas, and
unknown values are dashes. A column of nothing but dashes or counts of 0 is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Final

import pandas as pd

from hf_affscore.names import one_line
from hf_affscore.publish.markdown import unlinked

#: Applied in one pass, so that escapes are not escaped again.
_MARKDOWN: Final = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]|$~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_LATEX: Final = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$"}
)


def markdown(frame: pd.DataFrame) -> str:
    r"""A frame and its index as a Markdown table.

    Example:
        >>> print(markdown(pd.DataFrame({"median": [0.5]}, index=pd.Index(["a_b|c"], name="network"))))
        | network | median |
        | :-- | --: |
        | a\_b\|c | 0.500 |
        <BLANKLINE>
    """
    header, lines = _cells(frame, _in_markdown)
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, rule, *lines])


def latex(frame: pd.DataFrame) -> str:
    r"""A frame and its index as a LaTeX ``tabular`` with ``booktabs`` rules.

    Example:
        >>> print(latex(pd.DataFrame({"median": [0.5]}, index=pd.Index(["a_b"], name="network"))))
        \begin{tabular}{lr}
        \toprule
        network & median \\
        \midrule
        a\_b & 0.500 \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    header, lines = _cells(frame, lambda text: text.translate(_LATEX))
    top, *body = [f"{' & '.join(line)} \\\\\n" for line in [header, *lines]]
    columns = f"l{'r' * (len(header) - 1)}"
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{top}\\midrule\n{''.join(body)}"
        "\\bottomrule\n\\end{tabular}\n"
    )


def markdown_page(tables: Iterable[pd.DataFrame], notes: Iterable[str]) -> str:
    """Markdown tables, and a paragraph for each note."""
    return "\n".join([*map(markdown, tables), *(f"{_in_markdown(one_line(note))}\n" for note in notes)])


def latex_page(tables: Iterable[pd.DataFrame], notes: Iterable[str]) -> str:
    r"""A comment for each note, and that ``booktabs`` is needed, then LaTeX tables."""
    comments = [r"Needs \usepackage{booktabs}.", *notes]
    return "".join(f"% {one_line(note)}\n" for note in comments) + "\n".join(map(latex, tables))


def with_error(value: float, stderr: float, decimals: int = 3) -> str:
    """A number and its standard error; nothing where the number is undefined.

    Example:
        >>> with_error(0.759, 0.004), with_error(0.759, float("nan"))
        ('0.759 ±0.004', '0.759')
    """
    known = [] if math.isnan(stderr) else [f"±{stderr:.{decimals}f}"]
    return "" if math.isnan(value) else " ".join([f"{value:.{decimals}f}", *known])


def shown(value: Any) -> str:
    """One value as text; four-digit numbers such as years have no thousands separator.

    Example:
        >>> [shown(value) for value in (0.12345, 11689512, 2012.0, [0.53, 0.9], float("nan"), None)]
        ['0.123', '11,689,512', '2012', '0.53, 0.9', '-', '-']
    """
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) >= 1000):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _in_markdown(text: str) -> str:
    return unlinked(text.translate(_MARKDOWN))


def _cells(frame: pd.DataFrame, escaped: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    def cell(value: Any) -> str:
        return escaped(" ".join(shown(value).split()))

    header = [cell(str(name).replace("_", " ")) for name in [frame.index.name, *frame.columns]]
    lines = [[cell(value) for value in line] for line in frame.itertuples(name=None)]
    kept = [any(line[place] not in ("", "-", "0") for line in lines) for place in range(len(header))]
    kept[0] = True
    return list(compress(header, kept)), [list(compress(line, kept)) for line in lines]
