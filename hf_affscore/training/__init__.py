"""Signatures during training: a callback for transformers' Trainer, and a tracker for any training loop."""

from hf_affscore.training.callback import AffinityCallback
from hf_affscore.training.history import History
from hf_affscore.training.track import Tracker, track

__all__ = ["AffinityCallback", "History", "Tracker", "track"]
