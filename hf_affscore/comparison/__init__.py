"""Compares signatures: distances, families, statistics and correlations."""

from hf_affscore.comparison.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
