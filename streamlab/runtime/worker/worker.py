"""What a worker process does once it has imported what it needs.

One cooperative loop over its tasks, last in the graph first, so that rows leave before new ones are read. In each round
everything that has arrived is taken in before any task runs, so two workers that send to each other cannot block.
Commands come on standard input; when that ends, so does the worker. What user code prints goes to the job's log.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import select
import signal
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path

import polars as pl
import zmq

from streamlab.connectors.contracts.timing import pace_factor
from streamlab.core.errors import CheckpointError
from streamlab.core.failpoints import reach
from streamlab.core.messages import Barrier
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.observe.status import Failure
from streamlab.runtime.coordinator.checkpoint_tracker import TaskKey
from streamlab.runtime.coordinator.placement import worker_count, worker_of
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.messages.pipes import read_available
from streamlab.runtime.messages.protocol import (
    CommitCheckpoint,
    Committed,
    Deploy,
    Dismiss,
    HaltSources,
    RestoreFailed,
    SetPace,
    SetPaused,
    SourceHalts,
    Step,
    StopSources,
    TaskFailed,
    TriggerCheckpoint,
    WorkerStarted,
)
from streamlab.runtime.network.transport import Outlet, Transport
from streamlab.runtime.process.crash_record import BlackBox
from streamlab.runtime.process.fault_injection import arm_from_environment
from streamlab.runtime.process.forked_children import leave_if_forked
from streamlab.runtime.process.job_log import print_to
from streamlab.runtime.process.untouched import is_untouched
from streamlab.runtime.tables.results import SideTables
from streamlab.runtime.tables.window_files import PaneWriter
from streamlab.runtime.task.exchange import Channel
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import Snapshotted
from streamlab.runtime.worker.checkpoint_thread import CheckpointThread
from streamlab.runtime.worker.deployment import (
    BuiltTask,
    Goals,
    Origin,
    Place,
    build_task,
    listed_splits,
    share,
    with_recordings,
)
from streamlab.runtime.worker.task_runner import TaskRunner, failure_of
from streamlab.runtime.worker.watchdog import Watchdog
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles

_SAMPLE_ROWS = 5
_PUBLISH_NS = 200_000_000
_MAX_WAIT_MS = 100
_TURNS = 8
_MOSTLY_NEEDED = (
    "numpy.ma",
    "pyarrow.parquet",
    "streamlab.connectors.files.files",
    "streamlab.connectors.sources.frames",
    "streamlab.connectors.sources.generate",
    "streamlab.operators.group_aggregate",
    "streamlab.operators.head",
    "streamlab.operators.map_batches",
    "streamlab.operators.static_join",
    "streamlab.operators.steps",
    "streamlab.operators.watermarks",
    "streamlab.operators.windows",
    "streamlab.connectors.sinks.batches",
)
"""What the graph of a job is made of, and what rows between workers travel with."""


class Worker:
    """The main thread's side of a worker.

    Parameters
    ----------
    watchdog
        Speaks with the coordinator.
    """

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._hello = watchdog.hello
        self._folder = JobFolder(Path(self._hello.folder))
        self._black_box = BlackBox(self._folder.black_box(self._hello.worker))
        self._transport = Transport(
            watchdog.sockets,
            self._hello.worker,
            self._hello.attempt,
            self._hello.key,
            watchdog.options.channel_batches,
        )
        self._side_tables = SideTables(
            self._folder.results, self._hello.worker, self._hello.attempt, watchdog.options.keep_rows
        )
        self._checkpointing = watchdog.options.checkpoint_every_ms is not None
        self._checkpoints = CheckpointThread(
            self._hello,
            watchdog.report,
            SnapshotWriter(StateFiles(self._folder.checkpoint_blobs())) if self._checkpointing else None,
            watchdog.clock,
        )
        self._panes = PaneWriter(self._folder.path, self._hello.worker, self._hello.attempt)
        self._graph: JobGraph | None = None
        self.pickled_graph = b""
        self._runners: list[TaskRunner] = []
        self._current: Task | None = None
        self._starting = "start"
        self._paused = False
        self._pace = ""
        """What sources are read at; empty: at their own."""
        self._clock_us: int | None = None
        """Where the clock stands, while the job goes by steps."""
        self._goals = Goals()
        self._published_ns = 0
        self.has_failed = False
        """Whether something has gone wrong in this process."""
        self._poller = zmq.Poller()
        self._poller.register(self._transport.socket, zmq.POLLIN)
        self._poller.register(watchdog.command_fd, zmq.POLLIN)

    def run(self) -> None:
        """Run until dismissed."""
        try:
            self._load()
            while self._obey():
                self._watchdog.clock.turn()
                if not self._round():
                    self._wait()
        except BaseException as error:
            self._fail(error)
            self._watchdog.clock.stop()
            while self._obey(only_dismissal=True):
                self._poller.poll(_MAX_WAIT_MS)

    def close(self) -> None:
        """Release what is open; what sinks did not commit stays invisible."""
        for runner in self._runners:
            runner.task.close()
        self._side_tables.close()
        self._transport.close()
        self._black_box.close()

    def stop_threads(self) -> None:
        """End what runs beside the main thread."""
        self._checkpoints.stop()

    # -- rounds --------------------------------------------------------------------------------------------------

    def _round(self) -> bool:
        if not self._runners:
            # Others may be deployed already; what they send waits in the socket until its channels are open here.
            return False
        self._transport.receive_waiting()
        worked = False
        for runner in self._runners:
            if runner.task.finished:
                runner.run_once(self._now_us(), paused=self._paused)
                continue
            self._current = runner.task
            # What waits is worked off before new rows are read: a source gets one turn, the others several.
            turns = 1 if runner.task.is_source else _TURNS
            while turns and runner.run_once(self._now_us(), paused=self._paused):
                turns -= 1
                worked = True
            self._watchdog.clock.end()
            if runner.task.finished:
                self._report_end(runner)
        self._side_tables.flush()
        now_ns = time.perf_counter_ns()
        if now_ns - self._published_ns >= _PUBLISH_NS:
            self._published_ns = now_ns
            self._publish()
        return worked

    def _wait(self) -> None:
        now_us = self._now_us()
        wishes = [runner.wakeup_us(paused=self._paused, now_us=now_us) for runner in self._runners]
        earliest = min((wish for wish in wishes if wish is not None), default=None)
        wait_ms = _MAX_WAIT_MS
        if earliest is not None:
            wait_ms = min(max(-((now_us - earliest) // 1000), 0), _MAX_WAIT_MS)
        self._poller.poll(wait_ms)

    def _publish(self, *, now: bool = False) -> None:
        now_us = self._now_us()
        first_rows = [r.first_row_us for r in self._runners if r.first_row_us is not None]
        figures = tuple(runner.status(now_us) for runner in self._runners)
        self._watchdog.publish(figures, min(first_rows, default=None), now=now)
        self._panes.write_if_asked([runner.task for runner in self._runners], paused=self._paused)

    def _report_end(self, runner: TaskRunner) -> None:
        if self._checkpointing:
            self._side_tables.sync()
        self._side_tables.flush(now=True)
        self._publish()
        # Publishing takes the notes of late rows, which are to be read when the job has ended.
        self._side_tables.flush(now=True)
        self._panes.write([one.task for one in self._runners])
        if runner.last is not None:
            self._checkpoints.finish(runner.last, runner.status(self._now_us()), runner.first_row_us)

    def _fail(self, error: BaseException) -> None:
        leave_if_forked()
        self.has_failed = True
        self._watchdog.clock.end()
        task = self._current
        step = task.current_step if task is not None else self._starting
        sample = ""
        if task is not None and task.current_input is not None:
            sample = str(task.current_input.head(_SAMPLE_ROWS))
        failure: Failure = failure_of(error, step, sample)
        self._publish()
        self._watchdog.report(TaskFailed(self._hello.worker, self._hello.attempt, failure))

    # -- commands ------------------------------------------------------------------------------------------------

    def _obey(self, *, only_dismissal: bool = False) -> bool:
        """Carry out the commands that have come; return False when the worker is dismissed."""
        leave_if_forked()
        commands = self._watchdog.commands
        if commands:
            read_available(self._watchdog.command_fd)
        while commands:
            command = commands.popleft()
            match command:
                case Dismiss():
                    return False
                case _ if only_dismissal:
                    continue
                case Deploy():
                    self._deploy(command)
                case TriggerCheckpoint(checkpoint_id, then_hold):
                    self._trigger(Barrier(checkpoint_id), then_hold=then_hold)
                case CommitCheckpoint(checkpoint_id):
                    self._commit(checkpoint_id)
                case SetPaused(paused, clock_us):
                    self._set_paused(paused=paused)
                    self._set_clock(clock_us)
                case Step():
                    self._step(command)
                case SetPace() | HaltSources() | StopSources():
                    self._direct_sources(command)
            self._watchdog.clock.end()
        return True

    def _direct_sources(self, command: SetPace | HaltSources | StopSources) -> None:
        match command:
            case SetPace(pace):
                self._pace = pace
                self._set_pace()
            case HaltSources(number, at):
                for runner in self._runners:
                    runner.halt(number, at)
            case StopSources():
                self._stop()

    def _stop(self) -> None:
        for runner in self._runners:
            self._current = runner.task
            runner.stop(self._now_us())
            if runner.task.finished:
                self._report_end(runner)

    def _set_paused(self, *, paused: bool) -> None:
        now_us = self._now_us()
        for runner in self._runners if paused and not self._paused else ():
            runner.pause(now_us)
        self._paused = paused

    def _set_pace(self) -> None:
        for runner in self._runners if self._pace else ():
            runner.set_pace(pace_factor(self._pace))

    def _set_clock(self, clock_us: int | None) -> None:
        self._clock_us = clock_us
        for runner in self._runners:
            runner.go_by_hand(by_hand=clock_us is not None)

    def _step(self, command: Step) -> None:
        self._set_clock(command.clock_us)
        for runner in self._runners:
            self._current = runner.task
            if runner.task.finished:
                continue
            runner.step(command, self._goals.of(command, runner.task.vertex.id), self._now_us())
            if runner.task.finished:
                self._report_end(runner)
        self._watchdog.clock.limited = None

    def _report_step(self, runner: TaskRunner, number: int) -> None:
        """Say that a task is through with a step; its side outputs are shown, and no older figures will follow."""
        self._publish()
        taken = runner.taken(self._hello, number, self._now_us(), time.time_ns() // 1000)
        self._side_tables.flush(now=True)
        self._watchdog.report(taken)

    def _report_halt(self, runner: TaskRunner, number: int, at: int) -> None:
        task, hello = runner.task, self._hello
        self._watchdog.report(SourceHalts(hello.worker, hello.attempt, task.vertex.id, task.subtask, number, at))

    def _trigger(self, barrier: Barrier, *, then_hold: bool) -> None:
        for runner in self._runners:
            self._current = runner.task
            runner.trigger(barrier, then_hold=then_hold)

    def _commit(self, checkpoint_id: int) -> None:
        for runner in self._runners:
            self._current = runner.task
            self._watchdog.clock.commits = True
            runner.commit(checkpoint_id)
        self._checkpoints.complete(checkpoint_id)
        # A job that stops where it stands ends with this, and what it says last is to be true.
        self._publish(now=True)
        self._watchdog.report(Committed(self._hello.worker, self._hello.attempt, checkpoint_id))

    def _store_snapshot(self, task: TaskKey, taken: Snapshotted, alignment_us: int) -> None:
        """Hand a task's snapshot over to be stored; what it set aside before the barrier is durable first."""
        self._side_tables.sync()
        self._checkpoints.store(*task, taken, alignment_us)

    def _load(self) -> None:
        reach("worker.start")
        self.pickled_graph = self._folder.read_graph(self._hello.graph)
        graph: JobGraph = pickle.loads(self.pickled_graph)  # noqa: S301 - the client's own
        options = self._watchdog.options
        self._graph = with_recordings(graph, self._folder.path, options) if self._checkpointing else graph
        hello = self._hello
        if hello.worker:
            self._watchdog.report(WorkerStarted(hello.worker, hello.attempt))
            return
        if not hello.lists_splits:
            self._watchdog.report(WorkerStarted(hello.worker, hello.attempt))
            return
        splits = listed_splits(self._graph, hello.known_sources)
        rows = [split.rows for parts in splits.values() for split in parts]
        bounded = all(v.source.bounded for v in self._graph.vertices if v.source is not None)
        total = sum(r for r in rows if r is not None) if bounded and None not in rows else None
        self._watchdog.report(WorkerStarted(hello.worker, hello.attempt, splits, total))

    def _deploy(self, command: Deploy) -> None:
        graph = self._graph
        if graph is None:
            return
        reach("worker.deploy")
        workers = worker_count(vertex.parallelism for vertex in graph.vertices)
        try:
            origin = Origin.of(self._folder, command)
            built: list[BuiltTask] = []
            for vertex, subtask in reversed(share(graph, self._hello.worker)):
                self._starting = vertex.id
                built.append(self._build(graph, vertex, subtask, origin))
        except CheckpointError as error:
            hello, unreachable = self._hello, error.matter == "unreachable"
            failed = RestoreFailed(hello.worker, hello.attempt, command.restored, str(error), unreachable)
            self._watchdog.report(failed)
            return
        inboxes = {one.task: [self._transport.open_inbox(c) for c in one.task.inputs] for one in built}
        for one in built:
            task = one.task
            for channel in task.inputs:
                sender = worker_of(channel.source_subtask, workers)
                if sender != self._hello.worker:
                    self._transport.connect_inbox(channel, sender)
            self._runners.append(
                one.runner(
                    inboxes[task],
                    outlets={channel: self._outlet(channel, workers) for channel in task.outputs},
                    store=self._side_tables.store,
                    checkpoint=partial(self._store_snapshot, (task.vertex.id, task.subtask)),
                    stepped=self._report_step,
                    halted=self._report_halt,
                    keep_checkpoints=self._watchdog.options.checkpoint_keep,
                )
            )
        self._set_clock(self._clock_us)
        self._set_pace()
        for runner in self._runners:
            self._current = runner.task
            runner.begin()
            if runner.task.finished:
                self._report_end(runner)

    def _build(self, graph: JobGraph, vertex: Vertex, subtask: int, origin: Origin) -> BuiltTask:
        place = Place(
            str(self._folder.path), self._hello.attempt, self._watchdog.options, takes_notes=self._checkpointing
        )
        if vertex.sink is not None:
            # What it had prepared is committed before anything else.
            self._watchdog.clock.commits = True
            self._watchdog.clock.begin(vertex.sink.name)
        built = build_task(graph, vertex, subtask, origin, place)
        built.task.before_step = partial(self._note, _user_steps(vertex), _limited_steps(vertex))
        self._watchdog.clock.end()
        return built

    def _outlet(self, channel: Channel, workers: int) -> Outlet:
        target = worker_of(channel.target_subtask, workers)
        return self._transport.open_outlet(channel, None if target == self._hello.worker else target)

    def _now_us(self) -> int:
        return time.time_ns() // 1000 if self._clock_us is None else self._clock_us

    def _note(
        self, user_steps: frozenset[str], limited_steps: frozenset[str], step: str, frame: pl.DataFrame | None
    ) -> None:
        """Tell the black box and the watchdog what runs next."""
        leave_if_forked()
        sample = str(frame.head(_SAMPLE_ROWS)) if frame is not None and step in user_steps else ""
        self._black_box.note(step, sample)
        if step in limited_steps:
            self._watchdog.clock.begin(step, sample)
        else:
            self._watchdog.clock.end()


def _user_steps(vertex: Vertex) -> frozenset[str]:
    """Return the steps whose input is shown when the process dies in them."""
    steps = {spec.written for spec in vertex.operators if spec.is_user_code}
    return frozenset(steps | ({vertex.sink.name} if vertex.sink is not None and vertex.sink.is_user_code else set()))


def _limited_steps(vertex: Vertex) -> frozenset[str]:
    """Return the steps whose calls must return in time: user code, and what waits for the outside."""
    outside = {end.name for end in (vertex.source, vertex.sink) if end is not None}
    return _user_steps(vertex) | outside


def main(events_fd: int, coordinator: int) -> None:
    """Run this process as a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A crash in user code must not leave a core file in the user's folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # User code may start processes: they must neither hold the coordinator's pipes open nor read commands.
    os.set_inheritable(events_fd, False)
    commands_fd = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.pop("PYTHONPATH", None)
    if "STREAMLAB_PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.environ.pop("STREAMLAB_PYTHONPATH")
    if not is_told(commands_fd):
        preload()
    while work(Watchdog(commands_fd, events_fd, coordinator)):
        pass
    # Threads and exit handlers of user code must not keep the job from ending.
    os._exit(0)


def work(watchdog: Watchdog) -> bool:
    """Work for one job, and return whether this process can work for another one."""
    # It may have been started before there was a job.
    print_to(watchdog.log)
    faulthandler.enable(watchdog.fault_log)
    watchdog.start()
    arm_from_environment(f"worker-{watchdog.hello.worker}")
    worker = Worker(watchdog)
    worker.run()
    worker.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if worker.has_failed:
        return False
    worker.stop_threads()
    watchdog.stop()
    return is_untouched(worker.pickled_graph)


def is_told(commands_fd: int) -> bool:
    """Return whether the coordinator has said already who this process is."""
    return bool(select.select([commands_fd], [], [], 0)[0])


def preload() -> None:
    """Import what most jobs need, while there is time."""
    for module in _MOSTLY_NEEDED:
        import_module(module)
