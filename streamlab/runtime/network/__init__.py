"""How rows travel between tasks: channels with credit, within a worker and between workers."""
