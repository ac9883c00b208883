"""Recordings: logs of what a source gave that cannot be read again, written, read, and taken along."""
