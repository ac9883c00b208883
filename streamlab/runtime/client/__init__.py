"""A client's side of jobs: starts them, asks them, keeps spare processes, sweeps what has ended."""
