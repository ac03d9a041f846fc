"""Damaged files of every kind that comes from elsewhere; see ``harness``."""
