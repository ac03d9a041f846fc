"""Arrays in, numbers out: the affinity score and its companions. No model, no file, no network."""

from hf_affscore.score.affinity import Affinity, affinity, affinity_score
from hf_affscore.score.layer import score_layer
from hf_affscore.score.statistics import STATISTICS

__all__ = ["STATISTICS", "Affinity", "affinity", "affinity_score", "score_layer"]
