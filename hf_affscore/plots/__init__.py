"""Pictures of signatures, drawn without windows, global styles or pyplot state."""

from hf_affscore.extras import require

require("matplotlib")  # raises an error with the install command, before the imports below fail

from hf_affscore.plots.comparison import (
    plot_comparison,
    plot_correlations,
    plot_distances,
    plot_distributions,
    plot_timeline,
)
from hf_affscore.plots.difference import plot_difference
from hf_affscore.plots.history import plot_history
from hf_affscore.plots.signature import plot_signature

__all__ = [
    "plot_comparison",
    "plot_correlations",
    "plot_difference",
    "plot_distances",
    "plot_distributions",
    "plot_history",
    "plot_signature",
    "plot_timeline",
]
