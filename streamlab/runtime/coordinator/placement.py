"""Which tasks there are, and which worker runs what. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from streamlab.runtime.messages.protocol import Layout

TaskKey = tuple[str, int]
"""Id of the vertex, number of the subtask."""


class LaidOut:
    """The tasks of a job's graph, and the workers that it needs.

    Parameters
    ----------
    layout
        The graph.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.vertices = {vertex.id: vertex for vertex in layout.vertices}
        self.tasks: set[TaskKey] = {(v.id, subtask) for v in layout.vertices for subtask in range(v.parallelism)}
        self.sources = {task for task in self.tasks if self.vertices[task[0]].is_source}
        self.sinks = {task for task in self.tasks if self.vertices[task[0]].is_sink}
        self.workers = worker_count(vertex.parallelism for vertex in layout.vertices)


def worker_count(parallelisms: Iterable[int]) -> int:
    """Return how many workers a job has: enough that no two subtasks of one vertex share one."""
    return max(parallelisms, default=1)


def worker_of(subtask: int, workers: int) -> int:
    """Return the worker that a subtask runs in: the same for every vertex, so that forward edges stay local."""
    return subtask % workers
