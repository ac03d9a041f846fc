"""The result of a dry run: calls that would be scored, calls that would be skipped, and the cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_affscore.blocks import are_blocks
from hf_affscore.capture import nothing_to_score
from hf_affscore.inspection.cost import Cost
from hf_affscore.inspection.text import inspection_text
from hf_affscore.options import Pooling
from hf_affscore.signature import Record
from hf_affscore.tables import terminal_width
from hf_affscore.verdict import verdict_of_widths

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Inspection:
    """The activation calls of a model.

    Attributes:
        name: Hub id, folder or class.
        model_class: The class that was built, as ``analyze`` would build it.
        pooling: How an activation would become one row per image; ``dim`` is the width of that row.
        rows: The calls that would be scored, in execution order: ``index``, ``module``, ``activation``,
            ``call``, ``kind``, ``shape`` (of one image, as text), ``channel_axis`` and ``dim`` (the pooled width).
            With ``level="blocks"`` the blocks and their parts, with ``part`` and ``dim_out``.
        skipped: The calls that would not be scored, with their ``reason``.
        cost: Expected memory and time.
        device: ``"meta"``, or the device on which the model had to run.
    """

    name: str
    model_class: str
    pooling: Pooling
    rows: tuple[Record, ...]
    skipped: tuple[Record, ...]
    cost: Cost
    device: str

    @property
    def verdict(self) -> tuple[str, ...]:
        """How many scores would be evidence, judged by the widths alone, and what to do about the others."""
        widths = [row.dim for row in self.rows]
        if not widths:
            return (
                nothing_to_score(self.model_class, [(row.activation, row.reason) for row in self.skipped]),
            )
        if are_blocks(self.rows):
            few = sum(self.cost.num_samples <= 2 * width for width in widths)
            return (
                f"With {self.cost.num_samples} images {few} of {len(widths)} blocks and parts would have at most "
                "two images for each feature.",
            )
        return verdict_of_widths(widths, self.cost.num_samples, self.pooling)

    def to_dataframe(self) -> pd.DataFrame:
        """Both lists as one table, scored calls first; ``reason`` is empty for scored calls."""
        import pandas as pd

        scored = ({**row, "reason": None} for row in self.rows)
        return pd.DataFrame([*scored, *map(dict, self.skipped)])

    def to_dict(self) -> dict[str, Any]:
        """All results as one JSON-ready document."""
        lists = {"rows": [dict(row) for row in self.rows], "skipped": [dict(row) for row in self.skipped]}
        names = {"name": self.name, "model_class": self.model_class, "pooling": self.pooling}
        return {
            **names,
            "device": self.device,
            "cost": self.cost.to_dict(),
            "verdict": list(self.verdict),
            **lists,
        }

    @property
    def counts(self) -> str:
        """How many calls would be scored and how many not, in words."""
        what = "blocks and parts" if are_blocks(self.rows) else "activations"
        return f"{len(self.rows)} {what}, {len(self.skipped)} not scored"

    def __repr__(self) -> str:
        network = f"{self.name!r}, {self.model_class}, pooling {self.pooling!r}"
        return f"Inspection({network}: {self.counts}; {self.cost.summary()})"

    def __str__(self) -> str:
        """The table of calls with the cost and the verdict, as wide as the terminal."""
        return inspection_text(self, terminal_width())
