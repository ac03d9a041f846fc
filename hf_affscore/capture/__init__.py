"""What happens inside a model: which activations ran, with what input and output. No file, no network."""
