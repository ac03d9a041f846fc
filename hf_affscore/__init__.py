"""How non-linear a vision network really is.

For every activation function of a network this package compares input and output on real images and asks
how far the output is from an affine map of the input. The answers, in execution order, are the network's
non-linearity signature (Bouniot et al., CVPR 2025, arXiv 2310.11439).

Names are imported when first used: ``import hf_affscore`` loads neither torch nor transformers.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison as Comparison
    from hf_affscore.comparison import compare as compare
    from hf_affscore.errors import AffscoreError as AffscoreError
    from hf_affscore.run.analyze import analyze as analyze
    from hf_affscore.score import affinity_score as affinity_score
    from hf_affscore.signature import Signature as Signature

__version__ = "0.1.0"

_HOME = {
    "AffscoreError": "hf_affscore.errors",
    "Comparison": "hf_affscore.comparison",
    "Signature": "hf_affscore.signature",
    "affinity_score": "hf_affscore.score",
    "analyze": "hf_affscore.run.analyze",
    "compare": "hf_affscore.comparison",
}

__all__ = ["AffscoreError", "Comparison", "Signature", "affinity_score", "analyze", "compare"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
