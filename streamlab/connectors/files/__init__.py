"""Files as a source, one after the other or as they grow; and files that survive a power failure."""
