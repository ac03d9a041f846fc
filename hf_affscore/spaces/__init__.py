"""The Spaces of this package: their files, and the code that pushes them."""
