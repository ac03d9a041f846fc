"""What a linearisation has replaced, what became of the predictions, and what is saved."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hf_affscore.listing import named, said_once
from hf_affscore.names import shortened
from hf_affscore.signature import Record
from hf_affscore.tables import TIGHT, Column, terminal_width, text_table, wrapped

if TYPE_CHECKING:
    import pandas as pd

#: Where a map is that no layer could take in.
CONVOLUTION = "convolution"

#: What the map of a block of tokens is.
LINEAR = "linear layer"


def _heads(*, tight: bool, blocks: bool) -> list[Column]:
    """The columns of the table; without the kind of activation where there is little room."""
    kind = "part" if blocks else "activation"
    figures = ("parameters" if blocks else "elements", "R2", "alone", "together")
    return [
        Column("#", right=True),
        Column("module", paths=True),
        *([] if tight else [Column(kind, flexible=True)]),
        *(Column(heading, right=True) for heading in figures),
        Column("map"),
    ]


@dataclass(frozen=True)
class Costs:
    """What a forward pass takes.

    Attributes:
        elements: Entries of the outputs of all activations, for one image: what private inference pays for.
        parameters: Weights and biases.
        operations: Of convolutions, matrix products and attention, for one image; a multiply-add counts as
            two. None if they could not be counted. Activations, and normalisations, are not among them.
        seconds: Of a forward pass of one batch, the fastest of several.
    """

    elements: int
    parameters: int
    operations: int | None
    seconds: float


@dataclass(frozen=True)
class LinearisationReport:
    """The activations or blocks of a network, which were replaced by affine maps, and what that changed.

    Attributes:
        name: Hub id, folder or class of the network.
        level: ``"activations"`` or ``"blocks"``.
        rows: The activations in execution order: ``index``, ``module``, ``activation``, ``call``,
            ``elements`` (entries of its output for one image), ``r2`` (share of the variance of its outputs
            that the map explains, on the images it was fitted to), ``agreement_alone`` and
            ``agreement_together`` (share of the choosing images that keep their class with this one
            replaced, and with it and all that were replaced before it), ``replaced``, ``map`` (the layer
            that took the map in, or ``"convolution"``) and ``reason`` (why it was not replaced). Rows of blocks
            also have their ``part``, and the ``parameters`` and ``operations`` that are saved without them;
            their ``elements`` are those of all activations inside, their ``r2`` is of images that chose the
            ridge and were not fitted to, and their ``map`` is a ``"linear layer"`` or a ``"convolution"``.
        agreement: Share of the measuring images that are given the class that the original network gives.
        agreement_low: Lower end of its 95 % interval (Wilson).
        agreement_high: Upper end.
        agreement_chosen: The same share of the choosing images: at least ``1 - budget``.
        budget: The share that might get another class.
        dry_run: Whether nothing was tried: agreements are then those of the unchanged network.
        num_fitting: Images that the maps were fitted to.
        num_choosing: Images that decided which activations were replaced.
        num_measuring: Images that had no part in either.
        before: What a forward pass of the original takes.
        after: What a forward pass of the result takes.
        batch_size: Images of the batch that was timed.
    """

    name: str
    level: str
    rows: tuple[Record, ...]
    agreement: float
    agreement_low: float
    agreement_high: float
    agreement_chosen: float
    budget: float
    dry_run: bool
    num_fitting: int
    num_choosing: int
    num_measuring: int
    before: Costs
    after: Costs
    batch_size: int

    @property
    def replaced(self) -> tuple[Record, ...]:
        """The rows of what was replaced."""
        return tuple(row for row in self.rows if row.replaced)

    def to_dict(self) -> dict[str, Any]:
        """All results as one JSON-ready document; None for what was not measured."""
        fields = asdict(self)
        rows = [{name: _plain(value) for name, value in row.items()} for row in self.rows]
        return {**fields, "rows": rows}

    def to_dataframe(self) -> pd.DataFrame:
        """The rows as a table."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def __str__(self) -> str:
        return self.text(terminal_width())

    def __repr__(self) -> str:
        return (
            f"LinearisationReport({self.name!r}: {len(self.replaced)} of {len(self.rows)} {self.level} replaced, "
            f"agreement {self.agreement:.3f})"
        )

    def text(self, width: int) -> str:
        """The report in lines of at most ``width`` columns."""
        (prefix, names), tight, blocks = named(self.rows), width < TIGHT, self.level == "blocks"
        lines = [
            [
                str(row.index),
                name,
                *([] if tight else [row.part if blocks else row.activation]),
                f"{row.parameters:,}" if blocks else str(row.elements),
                *(_number(row[each]) for each in ("r2", "agreement_alone", "agreement_together")),
                "" if row.map is None else row.map if row.map in (CONVOLUTION, LINEAR) else "folded",
            ]
            for row, name in zip(self.rows, names, strict=True)
        ]
        kinds = "blocks and parts" if blocks else "activations"
        did = "could be tried as affine maps" if self.dry_run else "are affine maps now"
        number = sum(not math.isnan(row.r2) for row in self.rows) if self.dry_run else len(self.replaced)
        counts = f"{number} of {len(self.rows)} {kinds} {did}"
        title = f"{shortened(self.name, width)}: {counts}"
        reasons = Counter(row.reason for row in self.rows if row.reason is not None)
        kept = [wrapped(f"  {count} not replaced: {why}", width, indent=4) for why, count in reasons.items()]
        return "\n".join(
            [
                wrapped(title, width),
                *said_once(prefix, width),
                "",
                text_table(_heads(tight=tight, blocks=blocks), lines, width),
                "",
                *kept,
                *([""] if kept else []),
                *(wrapped(line, width) for line in self._agreements()),
                *([] if self.dry_run else ["", self._costs(width)]),
            ]
        )

    def _agreements(self) -> list[str]:
        if self.dry_run:
            saved = "parameters" if self.level == "blocks" else "elements"
            return [
                f"A dry run: maps were fitted to {self.num_fitting} images and none was tried. r2 says how well "
                f"each fits, {saved} what the network would have less."
            ]
        return [
            f"Class as before: {self.agreement:.1%} of {self.num_measuring} images that had no part in fitting or "
            f"choosing (95 % interval {self.agreement_low:.1%} to {self.agreement_high:.1%}).",
            f"Maps were fitted to {self.num_fitting} images, and chosen by {self.num_choosing} others, of which "
            f"{self.agreement_chosen:.1%} keep their class; asked for were {1 - self.budget:.1%}.",
        ]

    def _costs(self, width: int) -> str:
        pairs = {
            "activation elements per image": (self.before.elements, self.after.elements),
            "parameters": (self.before.parameters, self.after.parameters),
            "operations per image": (self.before.operations, self.after.operations),
        }
        lines = [
            [name, *("unknown" if value is None else f"{value:,}" for value in pair)]
            for name, pair in pairs.items()
        ]
        times = (f"{cost.seconds:.4f}" for cost in (self.before, self.after))
        lines.append([f"seconds per batch of {self.batch_size}", *times])
        heads = [Column("", flexible=True), Column("before", right=True), Column("after", right=True)]
        return text_table(heads, lines, width)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
