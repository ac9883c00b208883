"""Windows that depend on the data: rows closer than a gap are one session."""
