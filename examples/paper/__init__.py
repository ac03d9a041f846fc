"""The experiments of the paper (Bouniot et al., CVPR 2025, arXiv 2310.11439) that need no weights from a Hub.

One module per experiment, and each is the same three things: ``run`` computes a dictionary of values, ``draw``
makes a picture of them, ``markdown`` a table. ``python -m examples.paper.polynomials`` writes the values and
the picture of one into ``docs/paper``, ``python -m examples.paper`` of all; with ``--docs`` the tables in
``docs/paper.md`` are written again from the values.
"""
