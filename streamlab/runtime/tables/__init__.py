"""What a job's workers write for readers while it runs: result tables, side tables, windows."""
