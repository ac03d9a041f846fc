"""Load a network by name, or take a module, and run it on batches of images."""
