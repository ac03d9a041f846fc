"""Signatures on the Hub: collections as data sets, sections in model cards.

Pure functions render text (``markdown``, ``cards``); ``index`` lists the signatures of a collection; only
``commit`` writes to the Hub, and only ``fetch`` reads signatures from it.
"""

from hf_affscore.publish.fetch import load_signatures
from hf_affscore.publish.modelcard import CardUpdate, update_local_card, update_model_card

__all__ = ["CardUpdate", "load_signatures", "update_local_card", "update_model_card"]
