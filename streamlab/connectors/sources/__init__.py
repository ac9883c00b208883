"""Sources that read no files: frames in memory, generated rows, sockets, this machine's metrics."""
