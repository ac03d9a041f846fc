"""Libraries whose checkpoints are recognised but not loaded; the message has the line of Python that loads them.

keras-hub needs its backend to be chosen before import, and images with channels last; docTR and RF-DETR build their
networks inside objects of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from hf_affscore.models.repository import Repository


@dataclass(frozen=True)
class Hand:
    """How a checkpoint is loaded by hand.

    Attributes:
        line: A Python expression for a ``torch.nn.Module``; ``place`` is the folder, or the Hub id.
        advice: Further requirements.
        install: The distribution to install with pip.
    """

    line: str
    advice: str
    install: str


HANDS: dict[str, Hand] = {
    "keras-hub": Hand(
        "keras_hub.models.Backbone.from_preset(place)",
        "with KERAS_BACKEND=torch in the environment, and a processor that gives tensors of shape (H, W, 3)",
        "keras-hub",
    ),
    "doctr": Hand("doctr.models.from_hub(place)", "of a repository on the Hub", "python-doctr"),
    "rfdetr": Hand(
        "rfdetr.RFDETRNano(pretrain_weights=place).model.model",
        "by the class of its size, place being its file of weights",
        "rfdetr",
    ),
}


def known_by_hand(repository: Repository) -> str | None:
    """The name in :data:`HANDS` of the library that wrote a checkpoint; None for any other library."""
    config = repository.config
    if str(config.get("module", "")).startswith("keras"):
        return "keras-hub"
    if {"arch", "task"} <= config.keys():
        return "doctr"
    named = str(repository.library_name).lower().replace("_", "").replace("-", "")
    return next((name for name in HANDS if named == name.replace("-", "")), None)
