"""The metric and its Space. This file stays here; the others make up the Space."""
