"""Colours and markers of the families of networks, and the key that says which is which."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hf_affscore.plots.style import COLOURS, GREY, MARKERS
from hf_affscore.plots.text import fitted, fonts
from hf_affscore.signature import images

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison

_OTHERS = "other families"
_LONGEST = 2.6  # inches of a name in the key
_SIZE = 8.0


class Look(NamedTuple):
    """How a family is drawn."""

    family: str
    colour: str
    marker: str


def looks(comparison: Comparison) -> list[Look]:
    """The look of every network; the smallest families share a grey one where there are more than colours."""
    counts = Counter(comparison.families)
    chosen = {
        family: Look(family, colour, marker)
        for (family, _), colour, marker in zip(counts.most_common(), COLOURS, MARKERS, strict=False)
    }
    return [chosen.get(family, Look(_OTHERS, GREY, "o")) for family in comparison.families]


def family_key(figure: Figure, comparison: Comparison) -> None:
    """Say below the figure which colour is which family, where there are several."""
    families = list(dict.fromkeys(sorted(looks(comparison), key=_place)))
    if len(families) < 2:
        return
    # The leading space keeps matplotlib from hiding names that start with an underscore.
    names = [f" {fitted(look.family, _LONGEST, _SIZE)}" for look in families]
    handles = [
        Line2D([], [], linestyle="", marker=look.marker, color=look.colour, label=name)
        for look, name in zip(families, names, strict=True)
    ]
    columns = max(1, int(figure.get_figwidth() / (0.5 + 0.075 * max(map(len, names)))))
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(columns, len(handles)),
        prop={"size": _SIZE, "family": fonts(names)},
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def pooling_note(comparison: Comparison) -> str:
    """What a picture says where pooling made different things into rows; the warning names the networks."""
    if comparison.mixed_pooling is None:
        return ""
    return "Features are channels in some networks, tokens in others: part of what differs may be pooling."


def making_note(comparison: Comparison) -> str:
    """On how many images, with which pooling."""
    made = sorted({images(signature) for signature in comparison.signatures})
    pooling = {signature.metadata.get("options", {}).get("pooling") for signature in comparison.signatures}
    named = " and ".join(sorted(repr(each) for each in pooling if each))
    return f"On {'; '.join(made)}{f', pooling {named}' if named else ''}."


def _place(look: Look) -> int:
    return COLOURS.index(look.colour) if look.colour in COLOURS else len(COLOURS)
