"""What the coordinator knows of an attempt, of its workers, and of an earlier coordinator. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlab.observe.status import JobStatus, TaskStatus
from streamlab.runtime.protocol import Layout, Splits
from streamlab.state.checkpoints.manifest import Manifest, TaskState

START_TIMEOUT_US = 60_000_000
"""How long a worker may take to start, before it can give signs of life: imports take a while on a busy machine."""


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

    def silent(self, elapsed_us: int, timeout_us: int) -> list[int]:
        """Count time, and return the workers that have now been silent for too long; each of them once."""
        found = []
        for index, worker in self.workers.items():
            worker.silent_us += elapsed_us
            limit_us = timeout_us if worker.heard else max(timeout_us, START_TIMEOUT_US)
            if worker.silent_us > limit_us and not worker.inspected:
                worker.inspected = True
                found.append(index)
        return found


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


def joined_splits(listed: Splits, origin: Manifest | None) -> Splits:
    """Return the splits of each source: those that the origin knows, and new ones behind them."""
    joined = dict(listed)
    for vertex, known in origin.splits.items() if origin is not None else ():
        if vertex in listed:
            ids = {split.id for split in known}
            joined[vertex] = (*known, *(split for split in listed[vertex] if split.id not in ids))
    return joined
