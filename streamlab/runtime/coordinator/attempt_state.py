"""What the coordinator knows of an attempt, of its workers, and of an earlier coordinator. Pure values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from streamlab.observe.status import JobStatus, TaskStatus
from streamlab.runtime.messages.protocol import Layout
from streamlab.state.checkpoints.manifest import Manifest, TaskState


@dataclass
class WorkerState:
    """What was heard of a worker."""

    started: bool = False
    heard: bool = False
    silent_us: int = 0
    inspected: bool = False


@dataclass
class AttemptState:
    """What is known of the present attempt."""

    number: int
    workers: dict[int, WorkerState]
    restored: int = 0
    from_origin: bool = False
    deployed: bool = False
    tasks: dict[tuple[str, int], TaskStatus] = field(default_factory=dict)
    finished: dict[tuple[str, int], TaskState] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    """The checkpoint up to which each worker's sinks have committed."""
    last_commit: int | None = None
    """The checkpoint after whose commit the job has ended."""

    def figures(self) -> dict[str, Any]:
        """Return what the job's status says of it."""
        return {"attempt": self.number, "restored_checkpoint": self.restored or None, "awaits": self._missing()}

    def _missing(self) -> str:
        """Return in words what is waited for before its tasks can be deployed."""
        if self.deployed:
            return ""
        heard = sum(worker.heard for worker in self.workers.values())
        if heard < len(self.workers):
            return f"worker processes, {heard} of {len(self.workers)} are there"
        return "workers to read the graph and to list the splits"

    def has_reached(self, sources: Collection[tuple[str, int]]) -> bool:
        """Return whether all sources have been read as far as they are to be, in a replay that ends somewhere."""
        tasks = [self.tasks.get(key) for key in sources]
        there = [task is not None and (task.reached or task.finished) for task in tasks]
        return all(there) and any(task is not None and task.reached for task in tasks)


@dataclass
class Hold:
    """A checkpoint after which nothing is read any more."""

    request: str
    rescale: Layout | None = None
    """What runs from it on; None ends the job."""
    id: int | None = None


def wished_layout(hold: Hold | None) -> Layout | None:
    """Return what a job is to go on with, once the checkpoint is there that it holds for."""
    return None if hold is None else hold.rescale


@dataclass(frozen=True)
class Takeover:
    """What a coordinator must know to go on with a job whose coordinator has died.

    Attributes
    ----------
    attempt : int
        The last attempt on record; none of its processes runs any more.
    layout : Layout
        What it ran.
    manifests : tuple[Manifest, ...]
        Complete checkpoints, oldest first.
    status : JobStatus | None
        The last status.
    rescale : Layout | None
        What it was to go on with and does not run yet.
    """

    attempt: int
    layout: Layout
    manifests: tuple[Manifest, ...] = ()
    status: JobStatus | None = None
    rescale: Layout | None = None
