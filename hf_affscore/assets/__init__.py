"""The checkpoint and the images that come with the package, so that a first analysis needs no network.

``examples/train_digits_resnet.py`` made both folders; each holds a card that says what it is and where it is
from.
"""

from pathlib import Path
from typing import Final

__all__ = ["DEMO_DATASET", "DEMO_MODEL"]

_HERE = Path(__file__).resolve().parent

#: A residual network trained on handwritten digits, as ``AutoModelForImageClassification`` loads it.
DEMO_MODEL: Final = _HERE / "digits-resnet"

#: 512 handwritten digits that the network was not trained on, as ``datasets.load_dataset`` loads them.
DEMO_DATASET: Final = _HERE / "digits"
