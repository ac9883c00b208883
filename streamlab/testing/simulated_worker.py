"""One worker of a simulated job: the production tasks with their runners, and what it has still to do.

It does what `runtime.worker` does, one thing at a time, when the scheduler says so. Commands wait in :attr:`commands`,
events in :attr:`events`, parts of checkpoints to be stored in :attr:`StoreSteps.jobs`, and rows for other workers in
their :class:`Wire`; in each of them the order is kept, as pipes, sockets and the checkpoint thread keep it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from streamlab.connectors.contracts.timing import pace_factor
from streamlab.connectors.reading.discovery import Discovery
from streamlab.core.errors import CheckpointError, StepFailed
from streamlab.core.messages import Barrier, Batch, Message, Watermark
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph
from streamlab.runtime.job_folder.folder import Replayed
from streamlab.runtime.messages.protocol import (
    CommitCheckpoint,
    Committed,
    Deploy,
    HaltSources,
    Hello,
    RestoreFailed,
    SetPace,
    SetPaused,
    SourceHalts,
    Step,
    StopSources,
    TaskFailed,
    ToWorkers,
    TriggerCheckpoint,
    WorkerEvent,
    WorkerLost,
    WorkerStarted,
)
from streamlab.runtime.network.transport import Inbox
from streamlab.runtime.task.exchange import Channel
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import SideOutput, Snapshotted
from streamlab.runtime.worker.checkpoint_thread import CheckpointThread
from streamlab.runtime.worker.deployment import BuiltTask, Origin, Place, build_task, listed_splits, share
from streamlab.runtime.worker.task_runner import TaskRunner, failure_of
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.testing.ledger import Ledger, ShownRows

TaskKey = tuple[str, int]
ShellEvent = WorkerEvent | WorkerLost


@dataclass
class Wire:
    """One channel: what was sent and has not arrived, in front of the inbox of its receiver."""

    channel: Channel
    credit: int
    inbox: Inbox
    is_local: bool
    complain: Callable[[str], None]
    waiting: deque[Message] = field(default_factory=deque)
    _watermark_us: int | None = None

    def send(self, message: Message) -> None:
        """Send a message; within a worker it arrives at once."""
        if isinstance(message, Watermark):
            if self._watermark_us is not None and message.us < self._watermark_us:
                self.complain(f"the watermark on {self.channel} falls from {self._watermark_us} to {message.us}")
            self._watermark_us = message.us
        else:
            self.credit -= isinstance(message, Batch)
        if self.is_local:
            self.inbox.put(message)
        else:
            self.waiting.append(message)

    def deliver(self) -> None:
        """Let the first message arrive."""
        self.inbox.put(self.waiting.popleft())

    def grant(self, batches: int) -> None:
        """Get credit back."""
        self.credit += batches


class StoreSteps(CheckpointThread):
    """The production checkpoint thread without a thread: its jobs wait until the scheduler runs them."""

    def __init__(self, hello: Hello, report: Callable[[WorkerEvent], None], writer: SnapshotWriter) -> None:
        super().__init__(hello, report, None)
        self._writer = writer
        self.jobs: deque[Callable[[], None]] = deque()

    def _do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)


class _OftenAsked(Discovery):
    """Asks for new splits as often as a simulation, in which little time passes, can make use of."""

    look_every_us = 1_000


@dataclass(frozen=True)
class Shell:
    """What a worker finds around it: the store of checkpoints, the world outside, the job's options."""

    blobs: Blobs
    ledger: Ledger
    options: JobOptions
    start: tuple[Blobs, Manifest] | None = None
    """The checkpoint of another job that this one starts from."""
    folder: str = ""
    """Where tasks keep notes for replays; nowhere when empty."""
    replayed: Replayed | None = None
    """The job that this one replays."""

    def origin(self, command: Deploy) -> Origin:
        """Return what a worker was told to start from."""
        if command.from_origin and self.start is not None:
            return Origin(command.splits, *self.start, is_own=False, replayed=self.replayed)
        manifest = ManifestStore(self.blobs).get(command.restored) if command.restored else None
        return Origin(command.splits, self.blobs, manifest, is_own=True, replayed=self.replayed)

    def place(self, attempt: int) -> Place:
        """Return where tasks run."""
        return Place(self.folder, attempt, self.options, takes_notes=bool(self.folder), discovery=_OftenAsked)


class SimulatedWorker:
    """See the module.

    Parameters
    ----------
    hello
        Which worker of which attempt it is.
    graph
        What the attempt runs.
    shell
        What it finds around it.
    """

    def __init__(self, hello: Hello, graph: JobGraph, shell: Shell) -> None:
        self.index, self.attempt = hello.worker, hello.attempt
        self._hello = hello
        self.commands: deque[ToWorkers] = deque()
        self.events: deque[ShellEvent] = deque()
        self.steps = StoreSteps(hello, self.events.append, SnapshotWriter(StateFiles(shell.blobs)))
        self.runners: list[TaskRunner] = []
        self.alive = True
        self.working = True
        """Whether no task has failed; after that only its dismissal is waited for."""
        self._graph = graph
        self._shell = shell
        self._owner = (hello.attempt, hello.worker)
        self._paused = False
        self._pace = ""
        self._clock_us: int | None = None
        self._reported: set[TaskKey] = set()
        splits = None
        if hello.worker == 0 and hello.lists_splits:
            splits = listed_splits(graph, hello.known_sources)
        self.events.append(WorkerStarted(hello.worker, hello.attempt, splits))

    # -- what the scheduler may let it do --------------------------------------------------------------------------

    @property
    def runnable(self) -> list[TaskRunner]:
        """The tasks that may have something to do."""
        if not (self.alive and self.working):
            return []
        return [runner for runner in self.runners if not runner.task.finished or runner.has_waiting]

    def run(self, runner: TaskRunner, now_us: int) -> bool:
        """Let a task do its next piece of work, and return whether there was one."""
        worked = False
        with self._watched(runner.task):
            worked = runner.run_once(now_us if self._clock_us is None else self._clock_us, paused=self._paused)
        self._report_ends(now_us)
        return worked

    def die(self) -> None:
        """End; what it has open is closed."""
        self.alive = False
        for runner in self.runners:
            runner.task.close()

    def obey(self, wires: Mapping[Channel, Wire], now_us: int) -> ToWorkers:
        """Carry out the first command."""
        command = self.commands.popleft()
        if not self.working:
            return command
        match command:
            case Deploy():
                self._deploy(command, wires, now_us)
            case TriggerCheckpoint(checkpoint_id, then_hold):
                for runner in self._each():
                    with self._watched(runner.task):
                        runner.trigger(Barrier(checkpoint_id), then_hold=then_hold)
            case CommitCheckpoint(checkpoint_id):
                self._commit(checkpoint_id)
            case SetPaused(paused, clock_us):
                for runner in self.runners if paused else ():
                    runner.pause(now_us)
                self._paused, self._clock_us = paused, clock_us
                for runner in self.runners:
                    runner.go_by_hand(by_hand=clock_us is not None)
            case Step():
                self._step(command)
            case SetPace() | HaltSources() | StopSources():
                self._direct_sources(command, now_us)
        return command

    def poison(self, number: int) -> None:
        """Let the next call of a step raise."""
        for runner in self.runners:
            runner.task.before_step = partial(_raise, number)

    def _direct_sources(self, command: SetPace | HaltSources | StopSources, now_us: int) -> None:
        match command:
            case SetPace(pace):
                self._pace = pace
                self._set_pace()
            case HaltSources(number, at):
                for runner in self.runners:
                    runner.halt(number, at)
            case StopSources():
                for runner in self._each():
                    with self._watched(runner.task):
                        runner.stop(now_us)
                self._report_ends(now_us)

    # -- commands --------------------------------------------------------------------------------------------------

    def _deploy(self, command: Deploy, wires: Mapping[Channel, Wire], now_us: int) -> None:
        built: list[BuiltTask] = []
        try:
            origin = self._shell.origin(command)
            for vertex, subtask in reversed(share(self._graph, self.index)):
                built.append(build_task(self._graph, vertex, subtask, origin, self._shell.place(self.attempt)))
        except CheckpointError as error:
            self.working = False
            unreachable = error.matter == "unreachable"
            self.events.append(RestoreFailed(self.index, self.attempt, command.restored, str(error), unreachable))
            return
        for one in built:
            task = one.task
            self.runners.append(
                one.runner(
                    [wires[channel].inbox for channel in task.inputs],
                    outlets={channel: wires[channel] for channel in task.outputs},
                    store=self._show,
                    checkpoint=partial(self._store, (task.vertex.id, task.subtask)),
                    stepped=self._report_step,
                    halted=self._report_halt,
                    keep_checkpoints=self._shell.options.checkpoint_keep,
                )
            )
        self._set_pace()
        for runner in self._each():
            with self._watched(runner.task):
                runner.begin()
        self._report_ends(now_us)

    def _set_pace(self) -> None:
        for runner in self.runners if self._pace else ():
            runner.set_pace(pace_factor(self._pace))

    def _step(self, command: Step) -> None:
        self._clock_us = command.clock_us
        for runner in self._each():
            runner.go_by_hand(by_hand=True)
            with self._watched(runner.task):
                runner.step(command, None, command.clock_us)
        self._report_ends(command.clock_us)

    def _report_step(self, runner: TaskRunner, number: int) -> None:
        self.events.append(runner.taken(self._hello, number, 0, 0))

    def _report_halt(self, runner: TaskRunner, number: int, at: int) -> None:
        task = runner.task
        self.events.append(SourceHalts(self.index, self.attempt, task.vertex.id, task.subtask, number, at))

    def _commit(self, checkpoint_id: int) -> None:
        for runner in self._each():
            with self._watched(runner.task):
                runner.commit(checkpoint_id)
        if self.working:
            self.steps.complete(checkpoint_id)
            self.events.append(Committed(self.index, self.attempt, checkpoint_id))

    # -- what tasks give -------------------------------------------------------------------------------------------

    def _show(self, output: SideOutput) -> None:
        self._shell.ledger.show(ShownRows(output.tag, self.attempt, output.epoch, output.frame, self._owner))

    def _store(self, task: TaskKey, taken: Snapshotted, alignment_us: int) -> None:
        self._shell.ledger.sync(self._owner)
        self.steps.store(*task, taken, alignment_us)

    def _report_ends(self, now_us: int) -> None:
        for runner in self.runners:
            key = runner.task.vertex.id, runner.task.subtask
            if runner.task.finished and runner.last is not None and key not in self._reported and self.working:
                self._reported.add(key)
                self._shell.ledger.sync(self._owner)
                self.steps.finish(runner.last, runner.status(now_us), None)

    def _each(self) -> Iterator[TaskRunner]:
        for runner in self.runners:
            if self.working:
                yield runner

    @contextmanager
    def _watched(self, task: Task) -> Iterator[None]:
        """Report what a task raises; the worker does nothing after that."""
        try:
            yield
        except Exception as error:
            self.working = False
            failure = failure_of(error, task.current_step)
            self.events.append(TaskFailed(self.index, self.attempt, failure))


def _raise(number: int, step: str, frame: pl.DataFrame | None) -> None:  # noqa: ARG001 - the form of a hook
    text = f"{step}: fault {number}"
    raise StepFailed(text, step=step)
