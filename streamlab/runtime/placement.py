"""Which worker runs what. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def worker_count(parallelisms: Iterable[int]) -> int:
    """Return how many workers a job has: enough that no two subtasks of one vertex share one."""
    return max(parallelisms, default=1)


def worker_of(subtask: int, workers: int) -> int:
    """Return the worker that a subtask runs in: the same for every vertex, so that forward edges stay local."""
    return subtask % workers
