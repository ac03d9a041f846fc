"""How non-linear a vision network really is.

For every activation function of a network this package compares input and output on real images and asks
how far the output is from an affine map of the input. The answers, in execution order, are the network's
non-linearity signature (Bouniot et al., CVPR 2025, arXiv 2310.11439).

Names are imported when first used: ``import hf_affscore`` loads neither torch nor transformers. The one thing
it does is to leave a note for Hugging Face's evaluate, should that be used: see ``hf_affscore.metrics.by_name``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hf_affscore.metrics import by_name
from hf_affscore.spelling import did_you_mean
from hf_affscore.version import __version__ as __version__

if TYPE_CHECKING:
    from hf_affscore.capture import register_activation as register_activation
    from hf_affscore.comparison import compare as compare
    from hf_affscore.errors import AffscoreError as AffscoreError
    from hf_affscore.inspection.inspect import inspect as inspect
    from hf_affscore.publish import load_signatures as load_signatures
    from hf_affscore.publish import update_model_card as update_model_card
    from hf_affscore.run.analyze import analyze as analyze
    from hf_affscore.run.kept import load_rows as load_rows
    from hf_affscore.run.many import analyze_many as analyze_many
    from hf_affscore.score import affinity_score as affinity_score
    from hf_affscore.score.loss import affinity_loss as affinity_loss
    from hf_affscore.signature import Signature as Signature
    from hf_affscore.simplify.linearise import linearise as linearise
    from hf_affscore.training.callback import AffinityCallback as AffinityCallback
    from hf_affscore.training.track import track as track

_HOME = {
    "AffinityCallback": "hf_affscore.training.callback",
    "AffscoreError": "hf_affscore.errors",
    "Comparison": "hf_affscore.comparison",
    "Signature": "hf_affscore.signature",
    "affinity_loss": "hf_affscore.score.loss",
    "affinity_score": "hf_affscore.score",
    "analyze": "hf_affscore.run.analyze",
    "analyze_many": "hf_affscore.run.many",
    "compare": "hf_affscore.comparison",
    "inspect": "hf_affscore.inspection.inspect",
    "linearise": "hf_affscore.simplify.linearise",
    "load_rows": "hf_affscore.run.kept",
    "load_signatures": "hf_affscore.publish",
    "register_activation": "hf_affscore.capture",
    "track": "hf_affscore.training.track",
    "update_model_card": "hf_affscore.publish",
}

__all__ = [
    "AffinityCallback",
    "Signature",
    "affinity_loss",
    "affinity_score",
    "analyze",
    "analyze_many",
    "compare",
    "inspect",
    "linearise",
    "load_rows",
    "load_signatures",
    "register_activation",
    "track",
    "update_model_card",
]

by_name.register()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.{did_you_mean(name, __all__)}"
    )


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
