"""Arrays in, numbers out: the affinity score and its companions. No model, no file, no network."""
