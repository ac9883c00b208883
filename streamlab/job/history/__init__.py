"""A job's past: its checkpoints, replays, comparisons, and going on from them."""
