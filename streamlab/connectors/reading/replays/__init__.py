"""How a source was read, noted so that a replay reads it in the same way."""
