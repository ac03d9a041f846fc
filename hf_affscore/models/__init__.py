"""A name or a module becomes a network that runs on a batch of images."""
