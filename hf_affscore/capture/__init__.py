"""Captures every activation call of a forward pass, with its input and output."""

from hf_affscore.capture.activations import register_activation
from hf_affscore.capture.batch_axis import Skip, by_image, windows
from hf_affscore.capture.capture import Capture
from hf_affscore.capture.pooling import pool
from hf_affscore.capture.selection import Selection, no_blocks, nothing_to_score
from hf_affscore.capture.sites import ROOT, Call, CallSite, SkippedCall
from hf_affscore.capture.watched import Watched

__all__ = [
    "ROOT",
    "Call",
    "CallSite",
    "Capture",
    "Selection",
    "Skip",
    "SkippedCall",
    "Watched",
    "by_image",
    "no_blocks",
    "nothing_to_score",
    "pool",
    "register_activation",
    "windows",
]
