"""Spaces that come with the package, as files to be pushed, and what pushes them."""
