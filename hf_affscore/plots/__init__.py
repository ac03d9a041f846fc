"""Pictures of signatures: figures in, files out, and no window, global style or pyplot state on the way."""

from hf_affscore.extras import require

require("matplotlib")  # a sentence with the install line, before the imports below fail

from hf_affscore.plots.comparison import (
    plot_comparison,
    plot_correlations,
    plot_distances,
    plot_distributions,
    plot_timeline,
)
from hf_affscore.plots.history import plot_history
from hf_affscore.plots.signature import plot_signature

__all__ = [
    "plot_comparison",
    "plot_correlations",
    "plot_distances",
    "plot_distributions",
    "plot_history",
    "plot_signature",
    "plot_timeline",
]
