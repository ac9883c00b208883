"""A task, pure: one subtask of one vertex, with its chain of operators, its state and its figures."""
