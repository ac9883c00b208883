"""A whole job in one thread, under a scheduler that a seed decides: the production tasks, readers and coordinator.

What is shuffled: which task runs next, which channel delivers, how far a channel fills up, how many rows a source gives
at a time, when the clock moves and how far, pauses, checkpoints, and crashes after which the job goes on from its last
checkpoint. One integer reproduces a run: the same seed gives the same trace hash, which is a test of its own.

The wall clock never decides what a query gives, so whatever the schedule, the folded result must be the same.

``python -m streamlab.testing.simulation --seeds 10000`` runs the simulation of recovery (`recovery`), where everything
may fail.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, cast

import polars as pl

from streamlab.connectors.contracts.source import Split
from streamlab.connectors.reading.progress import ReaderSnapshot, merge_snapshots
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.changelog import fold
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import InternalError, explained
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, Barrier, Batch, Message
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph
from streamlab.observe.status import JobState, TaskStatus
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.coordinator.placement import worker_count, worker_of
from streamlab.runtime.messages import protocol
from streamlab.runtime.messages.protocol import VertexLayout
from streamlab.runtime.task.exchange import Channel, Emission
from streamlab.runtime.task.task_states import known_split
from streamlab.runtime.task.task_values import Output, Restored, SideOutput
from streamlab.state.checkpoints.manifest import TaskState
from streamlab.testing.harness import graph_of
from streamlab.testing.wiring import LocalTasks, Reader, TaskKey

if TYPE_CHECKING:
    from streamlab.frame.stream_frame import StreamFrame

_MAX_STEPS = 200_000
_BATCH_ROWS = (1, 2, 3, 7, 20, 100, 10_000)
_TIME_PASSES = 0.1
"""How likely the clock moves before a step."""
_PAUSE_TOGGLES = 0.02
"""How likely sources are paused, or let go on, before a step."""
_START_US = 1_700_000_000_000_000
_ARRIVAL = own("arrival")


@dataclass(frozen=True)
class SimulationResult:
    """What a simulated job gave.

    Attributes
    ----------
    rows : pl.DataFrame
        All result rows in the order of writing; a changelog keeps its row kinds.
    late_rows, dead_letters : tuple[pl.DataFrame, ...]
        Side outputs, as the batches in which they were set aside.
    rows_in : int
        Rows that the sources gave, those that were read again after a crash counted once.
    trace_hash : str
        Digest of everything that happened, in order.
    steps : int
        How many things happened.
    crashes : int
        How often the job went on from a checkpoint.
    """

    rows: pl.DataFrame
    late_rows: tuple[pl.DataFrame, ...]
    dead_letters: tuple[pl.DataFrame, ...]
    rows_in: int
    trace_hash: str
    steps: int
    crashes: int

    @property
    def table(self) -> pl.DataFrame:
        """The table that the rows describe, without row kinds."""
        return fold(self.rows)

    @property
    def late_count(self) -> int:
        """How many rows came too late."""
        return sum(frame.height for frame in self.late_rows)


def simulate(
    query: StreamFrame | JobGraph,
    seed: int,
    *,
    parallelism: int = 1,
    crashes: int = 0,
    batch_rows: int | None = None,
) -> SimulationResult:
    """Run a bounded query to its end under the schedule that `seed` stands for.

    Parameters
    ----------
    query
        A StreamFrame over bounded sources, or a job graph (its sinks are replaced).
    seed
        Decides everything that a real job leaves to chance.
    parallelism
        Subtasks of every step that can have more than one.
    crashes
        How often, at most, the job loses all its tasks after a checkpoint and goes on from it.
    batch_rows
        Most rows that a source gives at a time; drawn from the seed when left out.

    Raises
    ------
    StreamlabError
        Whatever a step raises.
    InternalError
        If the job comes to a standstill, or its coordinator does not see it finish.
    """
    graph = query if isinstance(query, JobGraph) else graph_of(query, parallelism)
    schema = None if isinstance(query, JobGraph) else query.collect_schema()
    return _Simulation(graph, seed, parallelism, crashes, batch_rows).run(schema)


class _Simulation:
    def __init__(self, graph: JobGraph, seed: int, parallelism: int, crashes: int, batch_rows: int | None) -> None:
        self._graph = graph
        self._random = Random(seed)  # noqa: S311 - reproducible, not secret
        self._crashes_left = crashes
        self._crashes = 0
        self._batch_rows = batch_rows
        self._credit = self._random.choice((1, 2, 8))
        self._now_us = _START_US
        self._trace = hashlib.blake2b(digest_size=16)
        self._steps = 0
        self._paused = False
        self._checkpoint = 0
        self._aligning = False
        self._next_checkpoint = self._random.randrange(1, 60) if crashes else None
        self._splits: dict[str, tuple[Split, ...]] = {
            v.id: tuple(v.source.splits()) for v in graph.vertices if v.source is not None
        }
        self._tasks = self._build({}, {})
        layouts = [
            VertexLayout(v.id, v.steps, v.parallelism, v.source is not None, v.sink is not None) for v in graph.vertices
        ]
        self._coordinator = Coordinator(
            "simulation",
            JobOptions("simulation", parallelism),
            protocol.Layout(parallelism, tuple(layouts)),
            submitted_us=self._now_us,
        )
        self._workers = worker_count(v.parallelism for v in graph.vertices)
        self._reported: set[TaskKey] = set()

    # -- one run -----------------------------------------------------------------------------------------------------

    def run(self, schema: pl.Schema | None) -> SimulationResult:
        self._start()
        while not self._tasks.finished:
            if self._steps >= _MAX_STEPS:
                raise InternalError(explained("simulation", needed="a job that ends", got=f"{_MAX_STEPS} steps"))
            self._step()
            self._report_ends()
        if self._coordinator.state is not JobState.FINISHED:
            got = f"a coordinator that is {self._coordinator.state}"
            raise InternalError(explained("simulation", needed="a finished job", got=got))
        rows = self._tasks.rows.joined()
        return SimulationResult(
            rows=pl.DataFrame(schema=schema) if rows is None else rows,
            late_rows=tuple(self._tasks.side[LATE_ROWS].frames),
            dead_letters=tuple(self._tasks.side[DEAD_LETTERS].frames),
            rows_in=self._rows_in(),
            trace_hash=self._trace.hexdigest(),
            steps=self._steps,
            crashes=self._crashes,
        )

    def _start(self) -> None:
        self._coordinator.start(self._now_us)
        attempt = self._coordinator.status().attempt
        workers = list(range(self._workers))
        self._random.shuffle(workers)
        for worker in workers:
            listed = {vertex: tuple(map(known_split, parts)) for vertex, parts in self._splits.items()}
            splits = listed if worker == 0 else None
            self._coordinator.handle(protocol.WorkerStarted(worker, attempt, splits), self._now_us)

    def _step(self) -> None:
        """Do one thing that could happen now."""
        self._steps += 1
        if self._random.random() < _TIME_PASSES:
            self._pass_time()
        if self._random.random() < _PAUSE_TOGGLES:
            self._toggle_pause()
        if self._next_checkpoint is not None and self._steps >= self._next_checkpoint and not self._aligning:
            self._begin_checkpoint()
        channels = [c for c in self._tasks.deliverable if self._has_credit(self._tasks.target(c))]
        sources = [
            key
            for key in self._tasks.readers
            if not self._tasks.tasks[key].finished and not self._paused and self._has_credit(key)
        ]
        if not channels and not sources:
            self._unstick()
            return
        choice = self._random.randrange(len(channels) + len(sources))
        if choice < len(channels):
            channel = channels[choice]
            self._note("deliver", channel, self._tasks.queues[channel][0])
            self._observe(self._tasks.deliver(channel))
        else:
            key = sources[choice - len(channels)]
            self._note("poll", key)
            self._observe(self._tasks.poll(key, self._now_us))
        if self._aligning:
            self._end_checkpoint()

    def _has_credit(self, key: TaskKey) -> bool:
        return self._tasks.queued(key) < self._credit

    def _unstick(self) -> None:
        """Nothing can run: a pause ends, or the clock moves to when a source or a timer wants to be woken."""
        if self._paused:
            self._toggle_pause()
            return
        if self._tasks.deliverable:
            got = f"every task without credit: {[str(c) for c in self._tasks.deliverable]}"
            raise InternalError(explained("simulation", needed="a task that can run", got=got))
        self._pass_time()

    def _pass_time(self) -> None:
        self._now_us += self._random.choice((1_000, 20_000, 1_000_000))
        self._note("time", self._now_us)
        self._tasks.on_time(self._now_us)
        self._coordinator.handle(protocol.Tick(1_000), self._now_us)

    def _toggle_pause(self) -> None:
        self._paused = not self._paused
        self._note("pause", self._paused)
        request = protocol.PauseRequested() if self._paused else protocol.ResumeRequested()
        commands = self._coordinator.handle(request, self._now_us)
        expected = protocol.SetPaused(paused=self._paused)
        if expected not in commands and not self._coordinator.state.is_final:
            raise InternalError(explained("simulation", needed=str(expected), got=str(commands)))

    def _report_ends(self) -> None:
        attempt = self._coordinator.status().attempt
        for key, task in self._tasks.tasks.items():
            if task.finished and key not in self._reported:
                self._reported.add(key)
                status = TaskStatus(vertex=key[0], subtask=key[1], finished=True)
                worker = worker_of(key[1], self._workers)
                part = TaskState(*key, finished=True)
                self._carry_out(
                    self._coordinator.handle(protocol.TaskFinished(worker, attempt, status, part), self._now_us)
                )

    def _carry_out(self, commands: Sequence[protocol.Command]) -> None:
        attempt = self._coordinator.status().attempt
        for command in commands:
            if isinstance(command, protocol.CommitCheckpoint):
                for worker in range(self._workers):
                    event = protocol.Committed(worker, attempt, command.checkpoint_id)
                    self._coordinator.handle(event, self._now_us)

    def _rows_in(self) -> int:
        return sum(reader.rows_read for reader in self._tasks.readers.values())

    # -- checkpoints and crashes -------------------------------------------------------------------------------------

    def _begin_checkpoint(self) -> None:
        """Send barriers from all sources; not once a task has ended, since its state would be missing."""
        self._next_checkpoint = None
        if any(task.finished for task in self._tasks.tasks.values()):
            return
        self._checkpoint += 1
        self._aligning = True
        self._tasks.snapshotted.clear()
        self._note("checkpoint", self._checkpoint)
        for key in self._tasks.readers:
            self._observe(self._tasks.inject_barrier(key, Barrier(self._checkpoint)))

    def _end_checkpoint(self) -> None:
        if set(self._tasks.snapshotted) != set(self._tasks.tasks):
            return
        self._aligning = False
        if self._crashes_left <= 0 or self._reported:
            return
        self._crashes_left -= 1
        self._crashes += 1
        self._note("crash", self._checkpoint)
        before = self._tasks
        positions: dict[str, list[ReaderSnapshot]] = {}
        for (vertex, _), taken in before.snapshotted.items():
            if taken.source is not None:
                positions.setdefault(vertex, []).append(taken.source)
        self._tasks = self._build(before.states(), positions)
        self._tasks.take_over(before)
        before.close()
        if self._crashes_left:
            self._next_checkpoint = self._steps + self._random.randrange(1, 60)

    def _build(
        self, states: Mapping[TaskKey, Restored], positions: Mapping[str, Sequence[ReaderSnapshot]]
    ) -> LocalTasks:
        def reader(vertex_id: str, subtask: int) -> Reader:
            vertex = self._graph.vertex(vertex_id)
            if vertex.source is None:
                raise InternalError(explained(vertex_id, needed="a source", got="none"))
            made = SteppedReader(
                vertex.source,
                self._splits[vertex_id],
                subtask,
                vertex.parallelism,
                merge_snapshots(positions.get(vertex_id, ())),
                batch_rows=self._batch_rows or self._random.choice(_BATCH_ROWS),
                batch_ms=0,
            )
            return cast("Reader", made)

        return LocalTasks(self._graph, reader, restored=states, checkpoint=self._checkpoint)

    # -- the trace ---------------------------------------------------------------------------------------------------

    def _note(self, what: str, *details: object) -> None:
        self._trace.update(repr((what, *(_digest(detail) for detail in details))).encode())

    def _observe(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Emission(channel, message):
                    self._note("emit", channel, message)
                case SideOutput(tag, step, frame):
                    self._note("side", tag, step, Batch(frame))


def _digest(detail: object) -> str:
    """Return what of a detail the trace holds: rows by a hash over their multiset, since their order has no meaning."""
    if isinstance(detail, Batch):
        frame = detail.collected()
        hashes = frame.hash_rows(seed=1).sort().to_list() if frame.width else []
        text = hashlib.blake2b(repr(hashes).encode(), digest_size=8).hexdigest()
        return f"{detail.tag} {frame.height} {frame.columns} {text}"
    return str(detail) if isinstance(detail, Channel | Message | tuple) else repr(detail)


def shuffled(frame: pl.DataFrame, time: str, bound_us: int, seed: int) -> pl.DataFrame:
    """Return the rows in an arrival order in which none comes more than `bound_us` after a later one.

    Every row is delayed by up to the bound, and rows arrive in the order of their delayed times; those without a time
    arrive first.
    """
    random = Random(seed)  # noqa: S311
    delays = [random.randrange(bound_us + 1) for _ in range(frame.height)]
    arrival = pl.Series("arrival", delays, dtype=pl.Int64) + frame[time].dt.epoch("us")
    return frame.with_columns(arrival.alias(_ARRIVAL)).sort(_ARRIVAL, maintain_order=True).drop(_ARRIVAL)


if __name__ == "__main__":
    from streamlab.testing.recovery import main

    sys.exit(main())
