"""What each step does to batches: pure and deterministic. No process, clock, thread or file in here."""
