"""The dry run: what an analysis would score and cost, without the weights."""
