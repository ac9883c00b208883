"""A worker: the process that runs tasks, with the threads beside its loop."""
