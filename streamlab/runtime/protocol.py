"""What coordinator, workers and shell tell each other, as values that travel as msgpack.

*Events* go to the coordinator, *commands* come from it. Those between processes carry no process objects, sockets or
clocks, so the seeded simulation and unit tests speak the same language.
"""

from __future__ import annotations

import msgspec

from streamlab.observe.status import Failure, JobStatus, TaskStatus

KEY_BYTES = 32
"""Length of the key that a client hands to the coordinator, first thing on its standard input."""


class VertexLayout(msgspec.Struct, frozen=True):
    """What the coordinator must know of a vertex, without reading the graph with the user's code in it."""

    id: str
    steps: tuple[str, ...]
    parallelism: int
    is_source: bool
    is_sink: bool


# -- events that a worker reports ------------------------------------------------------------------------------------


class WorkerStarted(msgspec.Struct, frozen=True, tag=True):
    """The worker has read the graph and can be given tasks; worker 0 has also listed the sources' splits."""

    worker: int
    attempt: int
    splits: bytes | None = None
    """Pickled splits of each source vertex, by vertex id: the coordinator passes them on without looking inside."""
    rows_total: int | None = None
    """How many rows the splits hold, when all of them know it."""


class WorkerReport(msgspec.Struct, frozen=True, tag=True):
    """A sign of life, with the figures of the worker's tasks."""

    worker: int
    attempt: int
    tasks: tuple[TaskStatus, ...] = ()
    first_row_us: int | None = None
    """Wall clock when a source of this worker first had rows."""


class TaskFinished(msgspec.Struct, frozen=True, tag=True):
    """A task has come to its end and its sink has committed."""

    worker: int
    attempt: int
    status: TaskStatus
    first_row_us: int | None = None
    """As in `WorkerReport`."""


class TaskFailed(msgspec.Struct, frozen=True, tag=True):
    """A task raised, or one of its steps did not return in time."""

    worker: int
    attempt: int
    failure: Failure


WorkerEvent = WorkerStarted | WorkerReport | TaskFinished | TaskFailed


# -- events that the shell reports -----------------------------------------------------------------------------------


class WorkerLost(msgspec.Struct, frozen=True, tag=True):
    """A worker's process has ended without having been told to."""

    worker: int
    attempt: int
    failure: Failure


class JobFolderFailed(msgspec.Struct, frozen=True, tag=True):
    """The job's folder cannot be written."""

    reason: str


class StopRequested(msgspec.Struct, frozen=True, tag=True):
    """Drain what was read, then end."""


class CancelRequested(msgspec.Struct, frozen=True, tag=True):
    """End now."""

    reason: str = ""


class PauseRequested(msgspec.Struct, frozen=True, tag=True):
    """Stop reading; what was read goes on its way."""


class ResumeRequested(msgspec.Struct, frozen=True, tag=True):
    """Read on."""


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has passed.

    `elapsed_us` is monotonic time since the last tick: silence is measured with it, so that a jump of the wall clock
    or a suspended machine makes no worker look lost.
    """

    elapsed_us: int


Request = StopRequested | CancelRequested | PauseRequested | ResumeRequested
Event = WorkerEvent | WorkerLost | JobFolderFailed | Request | Tick


# -- commands --------------------------------------------------------------------------------------------------------


class StartWorkers(msgspec.Struct, frozen=True, tag=True):
    """Start the processes of an attempt."""

    attempt: int
    count: int


class Deploy(msgspec.Struct, frozen=True, tag=True):
    """Build the tasks and run them; goes to every worker."""

    splits: bytes


class SetPaused(msgspec.Struct, frozen=True, tag=True):
    """Whether sources are read; goes to every worker."""

    paused: bool


class StopSources(msgspec.Struct, frozen=True, tag=True):
    """Stop reading for good, drain, end; goes to every worker."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """The coordinator lives; goes to every worker."""


class Dismiss(msgspec.Struct, frozen=True, tag=True):
    """There is nothing left to do: end; goes to every worker."""


class InspectWorker(msgspec.Struct, frozen=True, tag=True):
    """Find out what a worker that no longer answers is doing, end it, and report it as lost."""

    worker: int


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Make a status known."""

    status: JobStatus


class Finish(msgspec.Struct, frozen=True, tag=True):
    """End all processes, clean up, and make the last status known."""

    status: JobStatus


ToWorkers = Deploy | SetPaused | StopSources | Ping | Dismiss
Command = StartWorkers | ToWorkers | InspectWorker | Publish | Finish


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first thing that a worker hears: who it is."""

    folder: str
    worker: int
    attempt: int
    key: bytes
    """Authenticates what workers send each other; never stored, never in an argument or environment variable."""


ToWorker = Hello | ToWorkers
