"""One analysis from beginning to end, in any number of processes, resumable."""
