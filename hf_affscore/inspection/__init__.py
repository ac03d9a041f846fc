"""The dry run: what an analysis would score and what it would cost, without the weights."""
