"""What coordinator, workers and shell tell each other, as values that travel as msgpack.

*Events* go to the coordinator, *commands* come from it. Those between processes carry no process objects, sockets or
clocks, so the seeded simulation and unit tests speak the same language.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from streamlab.observe.status import Failure, JobStatus, TaskStatus
from streamlab.state.checkpoints.manifest import KnownSplit, Manifest, StoredStep, TaskState

KEY_BYTES = 32
"""Length of the key that a client hands to the coordinator, first thing on its standard input."""


class VertexLayout(msgspec.Struct, frozen=True):
    """What the coordinator must know of a vertex, without reading the graph with the user's code in it."""

    id: str
    steps: tuple[str, ...]
    parallelism: int
    is_source: bool
    is_sink: bool
    gives_to: tuple[tuple[str, str], ...] = ()
    """The vertices that its rows go to, and in words how they are routed; for those who look at a job."""
    pace: str = ""
    """How fast its source is read if nobody says otherwise; empty when that cannot be changed while it runs."""


Splits = dict[str, tuple[KnownSplit, ...]]
"""The splits of each source, by the id of its vertex."""


class Layout(msgspec.Struct, frozen=True):
    """The graph that an attempt runs, as far as it must be known without reading it."""

    parallelism: int
    """Of the job."""
    vertices: tuple[VertexLayout, ...]
    graph: str = "graph.pickle"
    """Name of the file in the job's folder."""
    steps: tuple[StoredStep, ...] = ()
    """What checkpoints say of the steps that keep state."""


# -- events that a worker reports ------------------------------------------------------------------------------------


class WorkerStarted(msgspec.Struct, frozen=True, tag=True):
    """The worker has read the graph and can be given tasks; in a first attempt worker 0 has listed the splits."""

    worker: int
    attempt: int
    splits: Splits | None = None
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
    """A task has come to its end, and what its sink still has to commit is durable."""

    worker: int
    attempt: int
    status: TaskStatus
    state: TaskState
    first_row_us: int | None = None
    """As in `WorkerReport`."""


class TaskSnapshotted(msgspec.Struct, frozen=True, tag=True):
    """A task's part of a checkpoint is durable."""

    worker: int
    attempt: int
    checkpoint_id: int
    state: TaskState


class SnapshotFailed(msgspec.Struct, frozen=True, tag=True):
    """A task's part of a checkpoint could not be stored."""

    worker: int
    attempt: int
    checkpoint_id: int
    reason: str


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The sinks of a worker have committed everything up to a checkpoint."""

    worker: int
    attempt: int
    checkpoint_id: int


class RestoreFailed(msgspec.Struct, frozen=True, tag=True):
    """A worker could not read the checkpoint that the attempt starts from."""

    worker: int
    attempt: int
    checkpoint_id: int
    reason: str
    unreachable: bool = False
    """Whether the store did not answer, which says nothing of the checkpoint."""


class SourceView(msgspec.Struct, frozen=True):
    """A source's subtask after a step."""

    order: tuple[int, int, int] | None
    """Watermark, turn and place of the split that is read next; None: nothing more, or it may go no further."""
    is_over: bool
    """Whether only the end is still to come."""
    wakeup_us: int | None
    """When there will be rows again, if there are none now."""
    read: dict[str, int]
    """Rows that the step has read, by split."""
    rows_in: int
    """All rows that it has read ever, dead letters included."""


class StepTaken(msgspec.Struct, frozen=True, tag=True):
    """A task has done, and shown, everything that follows from a step by hand."""

    worker: int
    attempt: int
    number: int
    status: TaskStatus
    made_watermark_us: int | None = None
    """The watermark that the task makes, if it makes one."""
    source: SourceView | None = None


class TaskFailed(msgspec.Struct, frozen=True, tag=True):
    """A task raised, or one of its steps did not return in time."""

    worker: int
    attempt: int
    failure: Failure


class SourceHalts(msgspec.Struct, frozen=True, tag=True):
    """A source's subtask says where it will halt at the earliest, or stands where it was told to halt, or has ended."""

    worker: int
    attempt: int
    vertex: str
    subtask: int
    number: int
    """Of the command; 0 when the subtask has ended."""
    at: int
    """The checkpoint of the job that is replayed, or `connectors.cuts.END_OF_NOTES`; the last one before its end."""


WorkerEvent = (
    WorkerStarted
    | WorkerReport
    | TaskFinished
    | TaskSnapshotted
    | SnapshotFailed
    | Committed
    | RestoreFailed
    | StepTaken
    | SourceHalts
    | TaskFailed
)


# -- events that the shell reports -----------------------------------------------------------------------------------


class WorkerLost(msgspec.Struct, frozen=True, tag=True):
    """A worker's process has ended without having been told to."""

    worker: int
    attempt: int
    failure: Failure
    from_outside: bool = False
    """Whether its own code had no part in that: it was killed."""


class JobFolderFailed(msgspec.Struct, frozen=True, tag=True):
    """The job's folder cannot be written."""

    reason: str


class CheckpointStored(msgspec.Struct, frozen=True, tag=True):
    """The manifest of a checkpoint is durable: the checkpoint is complete."""

    checkpoint_id: int


class CheckpointNotStored(msgspec.Struct, frozen=True, tag=True):
    """The manifest of a checkpoint could not be stored."""

    checkpoint_id: int
    reason: str


class StopRequested(msgspec.Struct, frozen=True, tag=True):
    """Drain what was read, then end; or end with a checkpoint and leave open what is open.

    `request` is the token by which the asker knows that checkpoint; without one the job drains.
    """

    request: str = ""


class RescaleRequested(msgspec.Struct, frozen=True, tag=True):
    """Take a checkpoint, and go on from it with another graph of the same query."""

    parallelism: int
    vertices: tuple[VertexLayout, ...]
    graph: str
    """Name of the file in the job's folder."""
    request: str
    """Token of the checkpoint."""
    steps: tuple[StoredStep, ...] = ()
    """What checkpoints of the new graph say of the steps that keep state."""


class CancelRequested(msgspec.Struct, frozen=True, tag=True):
    """End now."""

    reason: str = ""


class EndRequested(msgspec.Struct, frozen=True, tag=True):
    """What the job depends on has ended: take a last checkpoint if that is quick, and end."""

    reason: str = ""


class PauseRequested(msgspec.Struct, frozen=True, tag=True):
    """Stop reading; what was read goes on its way."""


class ResumeRequested(msgspec.Struct, frozen=True, tag=True):
    """Read on."""


class PaceRequested(msgspec.Struct, frozen=True, tag=True):
    """Give out the rows of sources at another pace."""

    pace: str
    """``max``, ``realtime``, or a factor such as ``60x``."""


class StepRequested(msgspec.Struct, frozen=True, tag=True):
    """Go on by hand while the job is paused; from the first one on the clock stands until it is resumed.

    Goals: so many ``batches``; until the ``watermark`` has risen; to the positions of another job's ``checkpoint``;
    raise the watermark to an ``event_time`` without reading; let the ``clock`` go on by so much.
    """

    request: str
    """Token by which the asker knows the step again in the job's status."""
    goal: Literal["batches", "watermark", "checkpoint", "event_time", "clock"] = "batches"
    amount: int = 1
    """How many batches; which checkpoint; microseconds."""
    rows: int | None = None
    """Rows of a batch at most, all of one split; None: as many as the job takes at full speed."""
    store: str = ""
    """Where the checkpoint is."""
    is_relative: bool = False
    """Whether an event time counts from the present watermark."""


class CheckpointRequested(msgspec.Struct, frozen=True, tag=True):
    """Take a checkpoint now."""

    request: str
    """Token by which the asker knows the checkpoint again in the job's status."""


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has passed.

    `elapsed_us` is monotonic time since the last tick: silence is measured with it, so that a jump of the wall clock
    or a suspended machine makes no worker look lost.
    """

    elapsed_us: int


Request = (
    StopRequested
    | CancelRequested
    | PauseRequested
    | ResumeRequested
    | PaceRequested
    | StepRequested
    | CheckpointRequested
    | RescaleRequested
)
ShellEvent = WorkerLost | JobFolderFailed | CheckpointStored | CheckpointNotStored | EndRequested | Tick
FromWorker = WorkerEvent | WorkerLost
Event = WorkerEvent | ShellEvent | Request


# -- commands --------------------------------------------------------------------------------------------------------


class StartWorkers(msgspec.Struct, frozen=True, tag=True):
    """Start the processes of an attempt, once it is on record and none of an earlier one is left.

    `restored` is the checkpoint that it starts from, 0 for the beginning: what was shown after that is void.
    """

    attempt: int
    count: int
    layout: Layout
    restored: int = 0
    from_origin: bool = False
    """Whether it starts from the checkpoint, of another job or a savepoint, that the job itself started from."""
    lists_splits: bool = True
    known_sources: tuple[str, ...] = ()
    """See :class:`Hello`."""


class EndWorkers(msgspec.Struct, frozen=True, tag=True):
    """End the processes of an attempt at once; nothing that they still say counts."""

    attempt: int


class Deploy(msgspec.Struct, frozen=True, tag=True):
    """Build the tasks, from a checkpoint or from the beginning, and run them; goes to every worker."""

    splits: Splits
    restored: int = 0
    from_origin: bool = False


class TriggerCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """Send a checkpoint's barrier from every source; goes to every worker."""

    checkpoint_id: int
    then_hold: bool = False
    """Whether sources read nothing after it, because the job ends with it."""


class HaltSources(msgspec.Struct, frozen=True, tag=True):
    """Read as far as a checkpoint of the job that is replayed, and no further before the next barrier; to every worker.

    A source that is asked for the next one answers at once, else when it stands there.
    """

    number: int
    """Which goes back with the answer."""
    at: int | None
    """The checkpoint or the first one behind it, 0 for the next one, or `connectors.cuts.END_OF_NOTES`; None lets them
    go on."""


class CommitCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """A checkpoint is complete: sinks commit everything up to it; goes to every worker."""

    checkpoint_id: int


class SetPaused(msgspec.Struct, frozen=True, tag=True):
    """Whether sources are read; goes to every worker."""

    paused: bool
    clock_us: int | None = None
    """Where the clock stands, for a job that goes by steps; None: it goes with the time of day."""


class SetPace(msgspec.Struct, frozen=True, tag=True):
    """How fast sources are read whose pace can be changed; goes to every worker."""

    pace: str
    """As in `PaceRequested`."""


class Step(msgspec.Struct, frozen=True, tag=True):
    """Do one thing by hand, then send a barrier from every source; goes to every worker.

    ``look`` does nothing, ``read`` has the sources of `tasks` give out a batch, ``end`` has them end, ``advance``
    raises the watermarks that are made anywhere to `us`.
    """

    number: int
    clock_us: int
    action: Literal["look", "read", "end", "advance"] = "look"
    tasks: tuple[tuple[str, int], ...] = ()
    rows: int | None = None
    us: int = 0
    checkpoint: int = 0
    """The checkpoint, in `store`, whose positions bound the reading; 0: none does."""
    store: str = ""


class StopSources(msgspec.Struct, frozen=True, tag=True):
    """Stop reading for good, drain, end; goes to every worker."""


class Ping(msgspec.Struct, frozen=True, tag=True):
    """The coordinator lives; goes to every worker."""


class Dismiss(msgspec.Struct, frozen=True, tag=True):
    """There is nothing left to do: end; goes to every worker."""


class InspectWorker(msgspec.Struct, frozen=True, tag=True):
    """Find out what a worker that no longer answers is doing, end it, and report it as lost."""

    worker: int


class StoreCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """Make a manifest durable, and report that."""

    manifest: Manifest


class RetainCheckpoints(msgspec.Struct, frozen=True, tag=True):
    """Delete all but the newest checkpoints, and files that none needs; no checkpoint is being taken now."""

    keep: int


class Publish(msgspec.Struct, frozen=True, tag=True):
    """Make a status known."""

    status: JobStatus


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """The request that was just handled is not taken; whoever asked is told what the job is instead."""

    reason: str


class Finish(msgspec.Struct, frozen=True, tag=True):
    """End all processes, clean up, and make the last status known."""

    status: JobStatus


ToWorkers = (
    Deploy
    | SetPaused
    | SetPace
    | Step
    | StopSources
    | HaltSources
    | TriggerCheckpoint
    | CommitCheckpoint
    | Ping
    | Dismiss
)
Command = (
    StartWorkers
    | EndWorkers
    | ToWorkers
    | InspectWorker
    | StoreCheckpoint
    | RetainCheckpoints
    | Refuse
    | Publish
    | Finish
)


class Hello(msgspec.Struct, frozen=True, tag=True):
    """The first thing that a worker hears: who it is."""

    folder: str
    worker: int
    attempt: int
    key: bytes
    """Authenticates what workers send each other; never stored, never in an argument or environment variable."""
    graph: str
    """Name of the graph's file in the job's folder."""
    lists_splits: bool = True
    """Whether worker 0 asks the sources for their splits; otherwise they are those of an earlier attempt."""
    known_sources: tuple[str, ...] = ()
    """Sources that go on from another job's checkpoint: one that discovers splits finds new ones while it reads."""


ToWorker = Hello | ToWorkers
