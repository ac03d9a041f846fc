"""Where the outside comes in: checkpoints, images, and the runner that joins them with the score."""
