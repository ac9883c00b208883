"""The coordinator of one job: a pure state machine. Events in, commands out; the shell around it does the I/O.

States and what leads from one to the next:

=========  =======================================================================================================
state      what happens in it
=========  =======================================================================================================
STARTING   Workers start. When all have and the splits are known, tasks are deployed → RUNNING, or PAUSED or STOPPING
           when that was asked for in the meantime.
RUNNING    Tasks run. All finished → FINISHED. PauseRequested → PAUSED. StopRequested → STOPPING.
PAUSED     Sources are not read. ResumeRequested → RUNNING. StopRequested → STOPPING. All finished → FINISHED.
STOPPING   Sources have ended, rows drain. All finished → STOPPED.
FINISHED   Final, like STOPPED, CANCELLED and FAILED: every later event is ignored.
=========  =======================================================================================================

From any state that is not final: CancelRequested → CANCELLED; TaskFailed, WorkerLost or JobFolderFailed → FAILED. A
worker that is silent for longer than ``heartbeat_timeout_ms`` (a minute while it starts) is inspected, ended and then
reported as lost by the shell.

Every event from a worker names its *attempt*; those of another attempt than the present one are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

import msgspec

from streamlab.core.errors import explained
from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState, JobStatus, TaskStatus
from streamlab.runtime import protocol
from streamlab.runtime.protocol import Command, Event, VertexLayout

PUBLISH_US = 100_000
"""Shortest time between two statuses that differ only in figures."""
KEEP_FRESH_US = 1_000_000
"""Longest time between two statuses: an older one means that the coordinator does not run."""
START_TIMEOUT_US = 60_000_000
"""How long a worker may take to start, before it can give signs of life: imports take a while on a busy machine."""
_PING_US = 1_000_000
_PINGS_PER_TIMEOUT = 4
_MAX_TICK_US = 1_000_000
"""A longer tick means that the coordinator itself did not run: workers could not be heard."""


@dataclass
class _Worker:
    started: bool = False
    heard: bool = False
    silent_us: int = 0
    inspected: bool = False


@dataclass
class _Attempt:
    """What is known of the present attempt."""

    number: int
    workers: dict[int, _Worker]
    splits: bytes | None = None
    deployed: bool = False
    tasks: dict[tuple[str, int], TaskStatus] = field(default_factory=dict)
    finished: set[tuple[str, int]] = field(default_factory=set)


class Coordinator:
    """Decides what happens to one job.

    Parameters
    ----------
    job_id
        The job's id.
    options
        Its options.
    vertices
        The vertices of its graph.
    submitted_us
        Wall clock when it was submitted.
    """

    def __init__(
        self, job_id: str, options: JobOptions, vertices: Sequence[VertexLayout], *, submitted_us: int
    ) -> None:
        self._id = job_id
        self._options = options
        self._vertices = {vertex.id: vertex for vertex in vertices}
        self._all_tasks = {(vertex.id, subtask) for vertex in vertices for subtask in range(vertex.parallelism)}
        self._submitted_us = submitted_us
        self._workers = worker_count(vertex.parallelism for vertex in vertices)
        self._attempt = _Attempt(0, {})
        self._state = JobState.STARTING
        self._paused = False
        self._stopping = False
        self._started_us: int | None = None
        self._ended_us: int | None = None
        self._rows_total: int | None = None
        self._failure: Failure | None = None
        self._published: JobStatus | None = None
        self._published_us = 0
        self._since_ping_us = 0
        self._now_us = submitted_us

    @property
    def state(self) -> JobState:
        """Where the job is in its life."""
        return self._state

    def start(self, now_us: int) -> list[Command]:
        """Begin the first attempt."""
        self._now_us = now_us
        self._attempt = _Attempt(self._attempt.number + 1, {index: _Worker() for index in range(self._workers)})
        return [protocol.StartWorkers(self._attempt.number, self._workers), *self._publish()]

    def handle(self, event: Event, now_us: int) -> list[Command]:
        """Take one event and return what is to be done, in order; `now_us` is the wall clock, for the status."""
        self._now_us = now_us
        if self._state.is_final:
            return []
        if isinstance(event, protocol.WorkerEvent | protocol.WorkerLost):
            if event.attempt != self._attempt.number:
                return []
            worker = self._attempt.workers[event.worker]
            worker.heard, worker.silent_us = True, 0
        return self._on(event)

    def status(self) -> JobStatus:
        """Return everything that is shown of the job."""
        tasks = tuple(self._attempt.tasks[key] for key in sorted(self._attempt.tasks, key=self._order))
        sources = [task for task in tasks if self._vertices[task.vertex].is_source]
        sinks = [task for task in tasks if self._vertices[task.vertex].is_sink]
        watermarks = [task.watermark_us for task in tasks if task.watermark_us is not None]
        return JobStatus(
            id=self._id,
            name=self._options.name,
            state=self._state,
            parallelism=self._options.parallelism,
            attempt=self._attempt.number,
            submitted_us=self._submitted_us,
            started_us=self._started_us,
            ended_us=self._ended_us,
            rows_in=sum(task.rows_in for task in sources),
            rows_out=sum(task.rows_out for task in sinks),
            rows_total=self._rows_total,
            late_rows=sum(task.late_rows for task in tasks),
            dead_letters=sum(task.dead_letters for task in tasks),
            rows_dropped=sum(task.rows_dropped for task in sinks),
            rows_in_per_s=sum(task.rows_in_per_s for task in sources),
            rows_out_per_s=sum(task.rows_out_per_s for task in sinks),
            watermark_us=min(watermarks, default=None),
            latency_p50_ms=max((t.latency_p50_ms for t in sinks if t.latency_p50_ms is not None), default=None),
            latency_p99_ms=max((t.latency_p99_ms for t in sinks if t.latency_p99_ms is not None), default=None),
            state_bytes=sum(task.state_bytes for task in tasks),
            tasks=tasks,
            failure=self._failure,
            reported_us=self._now_us,
        )

    def _order(self, key: tuple[str, int]) -> tuple[int, int]:
        return list(self._vertices).index(key[0]), key[1]

    # -- events --------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _on(self, event: Event) -> list[Command]:
        raise NotImplementedError(type(event).__name__)

    @_on.register
    def _(self, event: protocol.WorkerStarted) -> list[Command]:
        attempt = self._attempt
        attempt.workers[event.worker].started = True
        if event.splits is not None:
            attempt.splits = event.splits
            self._rows_total = event.rows_total
        if attempt.deployed or attempt.splits is None or not all(w.started for w in attempt.workers.values()):
            return []
        attempt.deployed = True
        commands: list[Command] = [protocol.SetPaused(paused=True)] if self._paused else []
        commands.append(protocol.Deploy(attempt.splits))
        if self._stopping:
            commands.append(protocol.StopSources())
        return [*commands, *self._move(self._active_state())]

    @_on.register
    def _(self, event: protocol.WorkerReport) -> list[Command]:
        for task in event.tasks:
            if (task.vertex, task.subtask) not in self._attempt.finished:
                self._attempt.tasks[task.vertex, task.subtask] = task
        self._note_first_row(event.first_row_us)
        return self._publish_if_due()

    @_on.register
    def _(self, event: protocol.TaskFinished) -> list[Command]:
        key = event.status.vertex, event.status.subtask
        self._attempt.tasks[key] = event.status
        self._attempt.finished.add(key)
        self._note_first_row(event.first_row_us)
        if self._attempt.finished != self._all_tasks:
            return self._publish_if_due()
        return self._end(JobState.STOPPED if self._stopping else JobState.FINISHED)

    @_on.register
    def _(self, event: protocol.TaskFailed) -> list[Command]:
        return self._fail(event.failure)

    @_on.register
    def _(self, event: protocol.WorkerLost) -> list[Command]:
        return self._fail(event.failure)

    @_on.register
    def _(self, event: protocol.JobFolderFailed) -> list[Command]:
        text = explained(
            f"job {self._id}",
            needed="a writable job folder with free space",
            got=event.reason,
            hint="free some space, or set STREAMLAB_HOME to another disk",
        )
        return self._fail(Failure(message=text, kind="StateError"))

    @_on.register
    def _(self, event: protocol.StopRequested) -> list[Command]:
        if self._stopping:
            return []
        self._stopping = True
        if not self._attempt.deployed:
            return []
        return [protocol.StopSources(), *self._move(JobState.STOPPING)]

    @_on.register
    def _(self, event: protocol.CancelRequested) -> list[Command]:
        return self._end(JobState.CANCELLED)

    @_on.register
    def _(self, event: protocol.PauseRequested) -> list[Command]:
        return self._set_paused(paused=True)

    @_on.register
    def _(self, event: protocol.ResumeRequested) -> list[Command]:
        return self._set_paused(paused=False)

    def _set_paused(self, *, paused: bool) -> list[Command]:
        if self._paused == paused or self._stopping:
            return []
        self._paused = paused
        if not self._attempt.deployed:
            return []
        return [protocol.SetPaused(paused=paused), *self._move(self._active_state())]

    @_on.register
    def _(self, event: protocol.Tick) -> list[Command]:
        elapsed_us = min(event.elapsed_us, _MAX_TICK_US)
        commands: list[Command] = []
        self._since_ping_us += elapsed_us
        timeout_us = self._options.heartbeat_timeout_ms * 1000
        if self._since_ping_us >= min(_PING_US, timeout_us // _PINGS_PER_TIMEOUT):
            self._since_ping_us = 0
            commands.append(protocol.Ping())
        for index, worker in self._attempt.workers.items():
            worker.silent_us += elapsed_us
            limit_us = timeout_us if worker.heard else max(timeout_us, START_TIMEOUT_US)
            if worker.silent_us > limit_us and not worker.inspected:
                worker.inspected = True
                commands.append(protocol.InspectWorker(index))
        return [*commands, *self._publish_if_due()]

    def _note_first_row(self, us: int | None) -> None:
        if us is not None:
            self._started_us = us if self._started_us is None else min(self._started_us, us)

    # -- what follows from them ----------------------------------------------------------------------------------

    def _active_state(self) -> JobState:
        if self._stopping:
            return JobState.STOPPING
        return JobState.PAUSED if self._paused else JobState.RUNNING

    def _move(self, state: JobState) -> list[Command]:
        self._state = state
        return self._publish()

    def _fail(self, failure: Failure) -> list[Command]:
        self._failure = failure
        return self._end(JobState.FAILED)

    def _end(self, state: JobState) -> list[Command]:
        self._state = state
        self._ended_us = self._now_us
        return [protocol.Dismiss(), protocol.Finish(self.status())]

    def _publish(self) -> list[Command]:
        status = self.status()
        self._published, self._published_us = status, self._now_us
        return [protocol.Publish(status)]

    def _publish_if_due(self) -> list[Command]:
        # A wall clock that was set back must not silence the job: any distance counts.
        age_us = abs(self._now_us - self._published_us)
        if age_us < PUBLISH_US:
            return []
        if age_us < KEEP_FRESH_US and self._published is not None:
            same_moment = msgspec.structs.replace(self.status(), reported_us=self._published.reported_us)
            if same_moment == self._published:
                return []
        return self._publish()


def worker_count(parallelisms: Iterable[int]) -> int:
    """Return how many workers a job has: enough that no two subtasks of one vertex share one."""
    return max(parallelisms, default=1)


def worker_of(subtask: int, workers: int) -> int:
    """Return the worker that a subtask runs in: the same for every vertex, so that forward edges stay local."""
    return subtask % workers
