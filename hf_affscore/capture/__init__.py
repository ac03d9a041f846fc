"""What happens inside a model: every activation call, its input and its output."""

from hf_affscore.capture.activations import looked_for
from hf_affscore.capture.capture import Call, Capture, Site, SkippedCall
from hf_affscore.capture.pooling import Skip, pool

__all__ = ["Call", "Capture", "Site", "Skip", "SkippedCall", "looked_for", "pool"]
