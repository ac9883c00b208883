"""What is known of a running job, as values that travel from worker to coordinator to client and are stored as JSON.

Rates are per second over the last report interval; the three ``…_ms_per_s`` of one task add up to about 1000, as in
Flink.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class JobState(StrEnum):
    """Where a job is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows it."""
        return self in {JobState.FINISHED, JobState.STOPPED, JobState.CANCELLED, JobState.FAILED}


class SplitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far one split of a source has been read."""

    split: str
    """Its name, unique in the source: often a path."""
    step: str
    """Name of the source."""
    rows: int = 0
    """Rows that were given out, dead letters not included."""
    watermark_us: int | None = None
    """Its own watermark; None while its rows have said nothing of time, or when a later step makes the watermarks."""
    latest_us: int | None = None
    """Latest event time that was given out in this attempt."""
    last_row_us: int | None = None
    """Wall clock when it last gave rows, in this attempt."""
    begun: bool = False
    idle: bool = False
    """Whether it is left out of the source's watermark, because nothing came for `idle_timeout`."""
    ended: bool = False


class FurthestRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row that is furthest ahead in event time, of those that a source has given in this attempt."""

    us: int
    """Its event time."""
    split: str
    step: str
    """Name of the source."""
    column: str = ""
    """The event time's."""
    row: str = ""
    """Its values as JSON, as much of it as fits a line; empty when nobody looked at it."""


class ClockStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A step that says what time it is in the stream: a source with an event time, or ``with_watermark``."""

    step: str
    delay_ms: float
    """How far rows may come out of order."""
    idle_timeout_ms: float | None = None
    """Time without rows after which an input no longer holds the watermark back; None: never."""


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """Event times of the rows that came to a step within one interval of processing time."""

    step: str
    until_us: int
    """Wall clock at the end of the interval, which begins where the one before ends."""
    rows: int = 0
    """Rows whose event time was taken note of; late ones are counted where they are found to be late."""
    earliest_us: int | None = None
    """None when it is not known, because the rows were never looked at by themselves."""
    latest_us: int | None = None
    watermark_us: int | None = None
    """The step's own watermark at the end of the interval; None before the first."""
    sample_us: tuple[int, ...] = ()
    """Event times of a few of the rows."""
    late_rows: int = 0
    """Rows that came after all their windows had closed."""
    late_sample_us: tuple[int, ...] = ()
    merged_rows: int = 0
    """Late rows that windows still took, within the allowed lateness."""
    merged_sample_us: tuple[int, ...] = ()
    sample_watermark_us: tuple[int | None, ...] = ()
    """The watermark that stood before each row of the sample; None where there was none."""
    late_watermark_us: tuple[int | None, ...] = ()
    """The watermark that each row of the sample was judged by."""
    merged_watermark_us: tuple[int | None, ...] = ()


class TimeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a task knows of event time."""

    as_of_us: int = 0
    """Wall clock of what follows."""
    clocks: tuple[ClockStatus, ...] = ()
    splits: tuple[SplitStatus, ...] = ()
    """Splits of its source, those that hold the watermark back first, and only the first of many."""
    split_count: int = 0
    """How many splits there are in all."""
    arrivals: tuple[Arrivals, ...] = ()
    """The newest intervals, oldest first."""
    late_by: tuple[tuple[float, int], ...] = ()
    """How much too late the rows set aside in this attempt were: upper bounds in ms, rising, with numbers of rows.

    A delay longer by that much would have kept them.
    """
    furthest: FurthestRow | None = None
    """The row of its source that is furthest ahead, if one is far ahead of others or of the clock."""


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one subtask of one vertex."""

    vertex: str
    """Id of the vertex."""
    subtask: int
    steps: tuple[str, ...] = ()
    """What users see of the steps in its chain."""
    rows_in: int = 0
    """Rows received, or read when it is a source, since the attempt began."""
    rows_out: int = 0
    bytes_read: int = 0
    """Bytes on disk of the files that a source has read, when they are all known beforehand."""
    bytes_in: int = 0
    bytes_out: int = 0
    rows_in_per_s: float = 0.0
    rows_out_per_s: float = 0.0
    busy_ms_per_s: float = 0.0
    idle_ms_per_s: float = 0.0
    backpressured_ms_per_s: float = 0.0
    queued_batches: int = 0
    """Batches that wait at its inputs."""
    watermark_us: int | None = None
    """Its current input watermark; None before the first."""
    lag_ms: float | None = None
    """Wall clock minus watermark, only while the watermark is a time."""
    late_rows: int = 0
    merged_late_rows: int = 0
    """Late rows that windows still took, within the allowed lateness, in this attempt."""
    dead_letters: int = 0
    dead_letter: str = ""
    """Reason and origin of the first one in this attempt."""
    rows_dropped: int = 0
    """Oldest rows that its sink no longer keeps."""
    values_nulled: int = 0
    """Values, such as NaN, that its sink wrote as null in this attempt because its target has no word for them."""
    state_rows: int = 0
    state_bytes: int = 0
    batch_rows: float = 0.0
    """Rows of a batch, on average over the interval."""
    batch_duration_ms: float | None = None
    """Time that a batch took, on average over the interval; None when there was none."""
    latency_p50_ms: float | None = None
    """From the reading of a row to its writing; sinks only."""
    latency_p99_ms: float | None = None
    finished: bool = False
    reached: bool = False
    """Whether its source has been read as far as it is to be, in a replay."""
    time: TimeStatus = TimeStatus()
    """What it knows of event time."""

    @property
    def shown(self) -> str:
        """What users see of its vertex: the first of its steps."""
        return self.steps[0] if self.steps else self.vertex


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed."""

    message: str
    """In the form of ``core.errors.explained``."""
    step: str = ""
    traceback: str = ""
    sample: str = ""
    """A few input rows of the step, as a table."""
    kind: str = "StepFailed"
    """Name of the class in ``core.errors``."""
    lasting: bool = False
    """Whether it would be the same whenever it is tried again."""


class CheckpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one checkpoint of a job."""

    id: int
    kind: Literal["checkpoint", "savepoint"] = "checkpoint"
    trigger: Literal["interval", "request", "end"] = "interval"
    """Why it was taken: the time had come, somebody asked for it, or the job ended."""
    state: Literal["running", "complete", "abandoned", "failed", "damaged", "deleted"] = "running"
    reason: str = ""
    """Why it is not complete."""
    request: str = ""
    """Token of the request that asked for it."""
    attempt: int = 1
    triggered_us: int
    duration_ms: float | None = None
    """From the trigger to the manifest being durable."""
    alignment_ms: float = 0.0
    """Longest time that a task waited for the barriers of its other inputs."""
    size_bytes: int = 0
    new_bytes: int = 0
    """Bytes that were written for it; the rest was there from earlier ones."""
    restored: int = 0
    """How many attempts started from it."""


class SplitRead(msgspec.Struct, frozen=True):
    """What a step by hand has read of one split."""

    source: str
    """The source's step."""
    split: str
    """Its id; empty when the source has ended in the middle of it, and nobody can tell."""
    rows: int


class StepStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a step by hand has done."""

    request: str
    """Token of the request."""
    state: Literal["running", "done", "failed"] = "running"
    reason: str = ""
    """Why it failed, or what kept it from going further."""
    read: tuple[SplitRead, ...] = ()
    batches: int = 0
    watermark_before_us: int | None = None
    """The lowest watermark that is made, by a source or a step, before and after; None when none is made."""
    watermark_us: int | None = None
    late_rows: int = 0
    """Rows that were late, and input that could not be understood, in this step."""
    dead_letters: int = 0
    ended: bool = False
    """Whether the job has ended with it."""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown of a job."""

    id: str
    name: str
    state: JobState
    parallelism: int = 1
    attempt: int = 1
    submitted_us: int = 0
    started_us: int | None = None
    """When the first row was read."""
    awaits: str = ""
    """What is still missing while it starts, for people."""
    ended_us: int | None = None
    rows_in: int = 0
    """Rows read by all sources."""
    rows_out: int = 0
    """Rows written by all sinks (result rows and changes)."""
    rows_total: int | None = None
    """Rows that the sources hold in all, when they are bounded and know it: for a progress bar."""
    bytes_total: int | None = None
    """The same in bytes of files, as they lie on disk, when all sources are files that do not grow."""
    bytes_read: int | None = None
    """How many of them were read; None while no source has told it yet."""
    late_rows: int = 0
    merged_late_rows: int = 0
    """Late rows that windows still took, within the allowed lateness."""
    dead_letters: int = 0
    rows_dropped: int = 0
    """Oldest rows that the result table no longer keeps."""
    rows_in_per_s: float = 0.0
    rows_out_per_s: float = 0.0
    watermark_us: int | None = None
    """The lowest watermark of all tasks that have one."""
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    state_bytes: int = 0
    tasks: tuple[TaskStatus, ...] = ()
    checkpoints: tuple[CheckpointStatus, ...] = ()
    """The newest ones, oldest first."""
    wish: Literal["run", "pause", "stop"] = "run"
    """What was asked for last; a job that is restarting comes to it when it runs again."""
    pace: str = ""
    """How fast sources give their rows by event time, such as ``60x``; empty: none whose pace can be changed."""
    pace_set: bool = False
    """Whether that was set while it runs; otherwise it is the sources' own."""
    clock_us: int | None = None
    """Where its clock stands, while it goes by steps; None: it goes with the time of day."""
    step: StepStatus | None = None
    """The last step by hand."""
    savepoint: str = ""
    """Token of the checkpoint that it was asked to end with."""
    elsewhere: str = ""
    """Where it runs, for people, if that is another machine or container than the reader's."""
    folder_full: bool = False
    """Whether there is no room left where the job's folder is: found out by whoever reads this, for the job may not be
    able to write it."""
    requests: tuple[str, ...] = ()
    """Tokens of the checkpoints that were asked for and are not there yet, for a coordinator that takes over."""
    rescale: str = ""
    """The graph that it was asked to go on with: the name of a file in its folder."""
    restarts: int = 0
    """How often it was restarted after a failure."""
    restored_checkpoint: int | None = None
    """Where the present attempt started from; None: from the beginning."""
    last_failure: Failure | None = None
    """Why it was restarted last."""
    failure: Failure | None = None
    """Why it failed for good."""
    reported_us: int = 0
