"""What a job shows of itself: figures, summaries, failures, metrics."""
