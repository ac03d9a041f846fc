"""Pictures of signatures, drawn without windows, global styles or pyplot state."""

from hf_affscore.extras import require

require("matplotlib")  # raises an error with the install command, before the imports below fail

from hf_affscore.plots.blocks import plot_blocks
from hf_affscore.plots.comparison import plot_comparison, plot_distances, plot_timeline
from hf_affscore.plots.correlations import plot_correlations
from hf_affscore.plots.difference import plot_difference
from hf_affscore.plots.history import plot_history
from hf_affscore.plots.networks import plot_distributions, plot_signatures
from hf_affscore.plots.signature import plot_signature

__all__ = [
    "plot_blocks",
    "plot_comparison",
    "plot_correlations",
    "plot_difference",
    "plot_distances",
    "plot_distributions",
    "plot_history",
    "plot_signature",
    "plot_signatures",
    "plot_timeline",
]
