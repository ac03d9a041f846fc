"""Signatures on the Hub: collections as data sets, sections in model cards.

Text is rendered by pure functions (``markdown``, ``cards``); ``index`` says what a collection holds;
``commit`` is the only place that writes, ``fetch`` the only one that reads.
"""

from hf_affscore.publish.fetch import load_signatures
from hf_affscore.publish.modelcard import CardUpdate, update_local_card, update_model_card

__all__ = ["CardUpdate", "load_signatures", "update_local_card", "update_model_card"]
