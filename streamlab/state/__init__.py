"""State of operators: immutable frames, indexes over keys, snapshots."""
