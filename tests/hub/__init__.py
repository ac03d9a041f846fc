"""A local Hub on 127.0.0.1 for tests, from the standard library only.

It speaks enough of the Hub's HTTP protocol that the unmodified clients (huggingface_hub, datasets,
transformers, evaluate) create repositories, commit, open pull requests, download and stream over real HTTP:

- ``storage.py``: repositories, commits and tokens, without HTTP;
- ``protocol.py``: requests, replies, routes and the threads that serve them;
- ``api.py`` and ``content.py``: the endpoints, as functions from a request to a reply;
- ``faults.py``: what goes wrong, on order;
- ``local.py``: :class:`LocalHub`, which a test holds in its hand.

What such a server cannot show: Xet transfers (they are switched off with ``HF_HUB_DISABLE_XET``), multi-part
uploads, the data set viewer, and the Hub's own checks of a card's metadata beyond well-formed YAML.
"""

from tests.hub.local import LocalHub

__all__ = ["LocalHub"]
