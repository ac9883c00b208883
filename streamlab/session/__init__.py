"""Wires things: options, jobs, sources and the runner that frames use."""
