"""Checkpoints: what they say (`manifest`), how frames become files (`frames`), and where they are kept (`store`)."""
