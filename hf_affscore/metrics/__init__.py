"""The metric ``affinity_signature`` for Hugging Face's evaluate: its folder, how it is found, installed, published.

``affinity_signature/`` is the metric as evaluate loads it, and at the same time a whole Space.
"""

from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "NAME"]

#: What the metric is called: ``evaluate.load(NAME)``.
NAME: Final = "affinity_signature"

#: Its folder, as ``evaluate.load`` takes it.
FOLDER: Final = Path(__file__).resolve().parent / NAME
