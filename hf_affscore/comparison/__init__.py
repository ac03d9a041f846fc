"""Compares signatures: distances, families, statistics and correlations; and what changed between two."""

from hf_affscore.comparison.comparison import Comparison, compare
from hf_affscore.comparison.difference import Difference, difference, median_difference

__all__ = ["Comparison", "Difference", "compare", "difference", "median_difference"]
