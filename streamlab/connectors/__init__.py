"""Sources and sinks. What travels and is stored are plain values: splits, positions, pending transactions."""
