"""The metric ``affinity_signature`` for Hugging Face's evaluate: look-up, installation and publication.

The folder ``affinity_signature/`` is both the metric that evaluate loads and a complete Space.
"""

from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "NAME"]

#: Name of the metric: ``evaluate.load(NAME)``.
NAME: Final = "affinity_signature"

#: Folder of the metric; ``evaluate.load`` accepts it.
FOLDER: Final = Path(__file__).resolve().parent / NAME
