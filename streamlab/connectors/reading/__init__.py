"""How the splits of a source are read: in which order, how fast, cut into which batches, up to which position."""
