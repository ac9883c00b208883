"""All tasks of a job in one thread, with their channels between them: what the harness and the simulation drive.

Nothing here decides *when* anything happens: :class:`LocalTasks` says what could happen next (:attr:`deliverable`) and
does one thing at a time (:meth:`deliver`, :meth:`poll`, …). The tasks are the production ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.changelog import ROW_KIND
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, Barrier, Message
from streamlab.graph.job_graph import JobGraph
from streamlab.runtime.task.exchange import Channel, Emission
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import Output, Restored, SideOutput, Snapshotted

TaskKey = tuple[str, int]
"""Id of the vertex, number of the subtask."""


class Reader(Protocol):
    """What a task asks of its source; `SteppedReader` is the production one."""

    rows_read: int
    bytes_read: int
    watermark_us: int
    is_over: bool

    def poll(self, now_us: int) -> list[Message]: ...  # noqa: D102 - as in SourceReader
    def stop(self, now_us: int) -> list[Message]: ...  # noqa: D102
    def wakeup_us(self, now_us: int) -> int | None: ...  # noqa: D102
    def snapshot(self) -> ReaderSnapshot: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


ReaderFactory = Callable[[str, int], Reader]
"""Makes the reader of a subtask of a vertex that has a source."""


@dataclass
class Rows:
    """The rows that a job gave, as frames in the order of giving.

    Each frame knows after which checkpoint it was given, so that a restart can withdraw what the checkpoint does not
    hold.
    """

    frames: list[pl.DataFrame] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    def add(self, frame: pl.DataFrame, after: int) -> None:
        """Take a frame that was given after checkpoint number `after`."""
        self.frames.append(frame)
        self.after.append(after)

    def withdraw(self, checkpoint: int) -> None:
        """Drop what was given after this checkpoint."""
        kept = [(frame, at) for frame, at in zip(self.frames, self.after, strict=True) if at < checkpoint]
        self.frames = [frame for frame, _ in kept]
        self.after = [at for _, at in kept]

    def joined(self, first: int = 0) -> pl.DataFrame | None:
        """Return the rows of all frames from number `first` on as one frame, or None when there are none.

        A changelog has the column `ROW_KIND`.
        """
        frames = self.frames[first:]
        if not frames:
            return None
        updating = any(ROW_KIND in frame.columns for frame in frames)
        kind = pl.lit(0, pl.Int8).alias(ROW_KIND)
        same = [f.with_columns(kind) if updating and ROW_KIND not in f.columns else f for f in frames]
        return pl.concat([frame.select(same[0].columns) for frame in same])


class CollectWriter(SinkWriter):
    """Keeps what is written in the order of writing, for all subtasks together."""

    def __init__(self, rows: Rows, after: int = 0) -> None:
        self._rows = rows
        self._after = after

    def write(self, frame: pl.DataFrame) -> None:
        """Keep the rows."""
        self._rows.add(frame, self._after)

    def prepare(self, checkpoint_id: int) -> Pending:
        """Count what follows as given after this checkpoint."""
        self._after = checkpoint_id
        return ()


@dataclass(frozen=True)
class CollectSink(Sink):
    """A place in a plan for results that a test collects; the harness and the simulation open their own writer."""

    @property
    def guarantee(self) -> Guarantee:
        """Rows are kept in this process only."""
        return "at-least-once"

    @property
    def accepts_updates(self) -> bool:
        """Changelogs are kept as they are."""
        return True

    def open(self, context: SinkContext) -> SinkWriter:
        """Return a writer whose rows nobody else sees."""
        return CollectWriter(Rows())


class LocalTasks:
    """The tasks and channels of one job.

    Parameters
    ----------
    graph
        What runs. Sinks are replaced: rows are collected in :attr:`rows`.
    readers
        Makes the readers of the sources' subtasks.
    restored
        What each subtask starts from.
    checkpoint
        Number of the checkpoint that it comes from.
    """

    def __init__(
        self,
        graph: JobGraph,
        readers: ReaderFactory,
        *,
        restored: Mapping[TaskKey, Restored] | None = None,
        checkpoint: int = 0,
    ) -> None:
        self.graph = graph
        self.rows = Rows()
        self.side = {LATE_ROWS: Rows(), DEAD_LETTERS: Rows()}
        self._checkpoint = checkpoint
        self.snapshotted: dict[TaskKey, Snapshotted] = {}
        self.readers: dict[TaskKey, Reader] = {}
        self.tasks: dict[TaskKey, Task] = {}
        for vertex in graph.vertices:
            for subtask in range(vertex.parallelism):
                key = (vertex.id, subtask)
                if vertex.source is not None:
                    self.readers[key] = readers(vertex.id, subtask)
                self.tasks[key] = Task(
                    graph,
                    vertex.id,
                    subtask,
                    reader=cast("SteppedReader | None", self.readers.get(key)),
                    writer=CollectWriter(self.rows, checkpoint) if vertex.sink is not None else None,
                    restored=(restored or {}).get(key),
                )
        self._targets = {channel: key for key, task in self.tasks.items() for channel in task.inputs}
        self._sources = {channel: key for key, task in self.tasks.items() for channel in task.outputs}
        self.queues: dict[Channel, deque[Message]] = {channel: deque() for channel in sorted(self._targets)}
        for key, task in self.tasks.items():
            self._apply(key, task.begin())

    @property
    def finished(self) -> bool:
        """Whether all tasks have ended."""
        return all(task.finished for task in self.tasks.values())

    @property
    def deliverable(self) -> list[Channel]:
        """The channels whose first message could be received now, in a fixed order."""
        return [
            channel
            for channel, queue in self.queues.items()
            if queue and not self.tasks[self._targets[channel]].is_blocked(channel)
        ]

    def queued(self, key: TaskKey) -> int:
        """Return how many messages wait in the fullest of a task's outgoing channels."""
        return max((len(queue) for channel, queue in self.queues.items() if self._sources[channel] == key), default=0)

    def target(self, channel: Channel) -> TaskKey:
        """Return the task that a channel leads to."""
        return self._targets[channel]

    def deliver(self, channel: Channel) -> list[Output]:
        """Hand a channel's first message to its task."""
        key = self._targets[channel]
        return self._apply(key, self.tasks[key].receive(channel, self.queues[channel].popleft()))

    def poll(self, key: TaskKey, now_us: int) -> list[Output]:
        """Let a source's task read once."""
        return self._apply(key, self.tasks[key].poll(now_us))

    def stop(self, key: TaskKey, now_us: int) -> list[Output]:
        """End a source."""
        return self._apply(key, self.tasks[key].stop(now_us))

    def on_time(self, now_us: int) -> None:
        """Run the due timers of all tasks."""
        for key, task in self.tasks.items():
            self._apply(key, task.on_time(now_us))

    def inject_barrier(self, key: TaskKey, barrier: Barrier) -> list[Output]:
        """Start a checkpoint at a source."""
        return self._apply(key, self.tasks[key].inject_barrier(barrier))

    def drain(self, now_us: int | None = None) -> None:
        """Deliver until nothing is left to deliver, first channel first; with `now_us` due timers run as well."""
        while channels := self.deliverable:
            self.deliver(channels[0])
            if now_us is not None:
                self.on_time(now_us)

    def states(self) -> dict[TaskKey, Restored]:
        """Return the state of every task at the last barrier, in the form that `restored` takes."""
        return {
            key: Restored(
                taken.checkpoint_id,
                taken.operators,
                finished=taken.finished,
                counters=taken.counters,
                order=taken.order,
            )
            for key, taken in self.snapshotted.items()
        }

    def take_over(self, before: LocalTasks) -> None:
        """Keep the rows that earlier tasks gave up to the checkpoint that these tasks start from."""
        self.rows.frames, self.rows.after = list(before.rows.frames), list(before.rows.after)
        self.rows.withdraw(self._checkpoint)
        for tag, rows in before.side.items():
            self.side[tag].frames, self.side[tag].after = list(rows.frames), list(rows.after)
            self.side[tag].withdraw(self._checkpoint)

    def close(self) -> None:
        """Release readers and writers."""
        for task in self.tasks.values():
            task.close()

    def _apply(self, key: TaskKey, outputs: list[Output]) -> list[Output]:
        for output in outputs:
            match output:
                case Emission(channel, message):
                    self.queues[channel].append(message)
                case SideOutput(tag, _, frame, epoch):
                    self.side[tag].add(frame, epoch)
                case Snapshotted(finished=False):
                    self.snapshotted[key] = output
        return outputs
