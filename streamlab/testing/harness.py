"""A whole query in one thread, fed by hand: push rows and watermarks, look at what has come out.

The harness runs the job graph that a job would run, with the production tasks and operators, but without processes,
sources and clocks. What is pushed goes through at once, so a test reads like the story that it tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.core.changelog import fold
from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, Barrier, Batch, End, Idle, Message, Watermark
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.observe.time_notes import TimeNotes
from streamlab.plan.nodes import Write
from streamlab.testing.wiring import CollectSink, LocalTasks, Reader, TaskKey

if TYPE_CHECKING:
    from streamlab.frame.stream_frame import StreamFrame


class PushReader:
    """A reader whose rows and watermarks are handed in. Follows the contract of ``SourceReader``."""

    def __init__(self) -> None:
        self.rows_read = self.bytes_read = 0
        self.watermark_us = MIN_TIME_US
        self.is_over = False
        self.notes = TimeNotes()
        self._waiting: list[Message] = []

    def push(self, message: Message) -> None:
        """Give this message at the next poll."""
        self._waiting.append(message)

    def poll(self, now_us: int) -> list[Message]:
        """Return what has been pushed."""
        waiting, self._waiting = self._waiting, []
        self.rows_read += sum(m.collected().height for m in waiting if isinstance(m, Batch))
        return waiting

    def stop(self, now_us: int) -> list[Message]:
        """Return what has been pushed, and the end."""
        return [*self.poll(now_us), Watermark(MAX_TIME_US), End()]

    def wakeup_us(self, now_us: int) -> int | None:
        """Never: it is told."""
        return None

    def snapshot(self) -> ReaderSnapshot:
        """Return the position before anything: what was pushed is not read again."""
        return ReaderSnapshot()

    def close(self) -> None:
        """Nothing is open."""


def _push_reader(vertex_id: str, subtask: int) -> Reader:  # noqa: ARG001 - the form of a ReaderFactory
    return PushReader()


def graph_of(frame: StreamFrame, parallelism: int = 1) -> JobGraph:
    """Return the job graph that a job of this query would run, ending in a sink that keeps its rows."""
    node = frame.plan
    sink = CollectSink("collect")
    return lower(Write(node, sink, step="collect", schema=node.schema, event_time=node.event_time), parallelism)


class Harness:
    """Runs one query, or one job graph, in this thread.

    Parameters
    ----------
    query
        A StreamFrame, or a job graph. What its sources would read is not read.
    parallelism
        Subtasks of every step that can have more than one; pushed rows go to the sources' subtask 0 unless told
        otherwise, watermarks to all of them.

    Examples
    --------
    >>> import polars as pl, streamlab as sl
    >>> from datetime import datetime
    >>> rows = pl.DataFrame({"at": [datetime(2024, 1, 1, 0, 0, second) for second in (1, 2, 11)]})
    >>> counts = sl.from_frame(rows, event_time="at").group_by_dynamic("at", every="10s").agg(pl.len().alias("n"))
    >>> harness = Harness(counts)
    >>> harness.push(rows)
    >>> harness.watermark(datetime(2024, 1, 1, 0, 0, 10))
    >>> harness.take()["n"].to_list()
    [2]
    >>> harness.end()
    >>> harness.take()["n"].to_list()
    [1]
    """

    def __init__(self, query: StreamFrame | JobGraph, *, parallelism: int = 1) -> None:
        self._empty = pl.DataFrame() if isinstance(query, JobGraph) else pl.DataFrame(schema=query.collect_schema())
        self._graph = query if isinstance(query, JobGraph) else graph_of(query, parallelism)
        self._parallelism = parallelism
        self._tasks = LocalTasks(self._graph, _push_reader)
        self._taken = 0
        self._now_us = 0
        self._checkpoints = 0
        self._steps = {v.source.name: v.id for v in self._graph.vertices if v.source is not None}

    # -- in --------------------------------------------------------------------------------------------------------

    def push(self, frame: pl.DataFrame, *, source: str | None = None, subtask: int = 0) -> None:
        """Let a source give these rows as one batch. `source` is its name; it can be left out when there is only one.

        Raises
        ------
        OptionError
            If there are several sources and none is named, or no such source.
        """
        self._give((self._source(source), subtask), Batch(frame))

    def watermark(self, at: object, *, source: str | None = None) -> None:
        """Let a source (all of them if not told otherwise) say that no row at or before `at` follows.

        `at` is a datetime, or microseconds since the epoch; the maximum closes every window.
        """
        us = at if isinstance(at, int) else int(pl.Series([at]).dt.epoch("us").item())
        for key in self._sources(source):
            self._give(key, Watermark(us))

    def idle(self, *, source: str | None = None) -> None:
        """Let a source (all of them if not told otherwise) be idle until its next rows or watermark."""
        for key in self._sources(source):
            self._give(key, Idle())

    def advance(self, by_us: int) -> None:
        """Let processing time pass: due timers run."""
        self._now_us += by_us
        self._tasks.on_time(self._now_us)
        self._tasks.drain(self._now_us)

    def end(self, *, source: str | None = None) -> None:
        """Let a source (all of them if not told otherwise) end."""
        for key in self._sources(source):
            self._tasks.stop(key, self._now_us)
        self._tasks.drain(self._now_us)

    def restart(self, query: StreamFrame | None = None) -> None:
        """Take a checkpoint, throw every task away, and go on with new ones from their snapshots.

        `query` is another query with the same sources and result columns to go on with; state is matched by steps.
        """
        self._checkpoints += 1
        for key in self._tasks.readers:
            self._tasks.inject_barrier(key, Barrier(self._checkpoints))
        self._tasks.drain(self._now_us)
        before = self._tasks
        if query is not None:
            self._graph = graph_of(query, self._parallelism)
        self._tasks = LocalTasks(
            self._graph,
            _push_reader,
            restored=before.states(),
            checkpoint=self._checkpoints,
        )
        self._tasks.take_over(before)

    # -- out -------------------------------------------------------------------------------------------------------

    def take(self) -> pl.DataFrame:
        """Return the rows that have come out since the last call, as they came: a changelog keeps its row kinds."""
        new = self._tasks.rows.joined(self._taken)
        self._taken = len(self._tasks.rows.frames)
        return self._empty if new is None else new

    def changelog(self) -> pl.DataFrame:
        """Return all rows that have come out, as they came."""
        rows = self._tasks.rows.joined()
        return self._empty if rows is None else rows

    def results(self) -> pl.DataFrame:
        """Return the table that all rows so far describe."""
        return fold(self.changelog())

    def late_rows(self) -> list[pl.DataFrame]:
        """Return the rows that came too late, as the batches in which they were set aside."""
        return list(self._tasks.side[LATE_ROWS].frames)

    def dead_letters(self) -> list[pl.DataFrame]:
        """Return input that could not be understood."""
        return list(self._tasks.side[DEAD_LETTERS].frames)

    @property
    def finished(self) -> bool:
        """Whether everything has ended."""
        return self._tasks.finished

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _give(self, key: TaskKey, message: Message) -> None:
        reader = self._tasks.readers[key]
        if isinstance(reader, PushReader):
            reader.push(message)
        self._tasks.poll(key, self._now_us)
        self._tasks.drain(self._now_us)

    def _source(self, name: str | None) -> str:
        if name is None and len(self._steps) == 1:
            return next(iter(self._steps.values()))
        if name not in self._steps:
            known = ", ".join(map(repr, self._steps))
            raise OptionError(explained("source", needed=f"one of {known}", got=repr(name)))
        return self._steps[name]

    def _sources(self, name: str | None) -> list[TaskKey]:
        vertex = None if name is None else self._source(name)
        return [key for key in self._tasks.readers if vertex in {None, key[0]}]
