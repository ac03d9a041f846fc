"""Activations that act almost as affine maps are replaced by such maps, and what that changes is measured."""
