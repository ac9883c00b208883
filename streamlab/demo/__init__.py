"""Real data to try streamlab with, and the job of ``streamlab demo``."""
