"""What a worker reports of a task's event time: closed intervals, late rows that survive a restore."""

from __future__ import annotations

import datetime as dt

import polars as pl

from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import HoppingWindows
from streamlab.core.messages import Batch, End, Watermark
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.observe.late_notes import LATE_NOTES
from streamlab.operators.watermarks import AssignWatermarksSpec
from streamlab.operators.windows import window_operators
from streamlab.plan.expressions.split import split_aggregates
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_times import INTERVAL_US, TaskTimes
from streamlab.runtime.task.task_values import Restored, Snapshotted

SCHEMA = pl.Schema({"t": pl.Datetime("us"), "n": pl.Int64})


def build(restored: Restored | None = None) -> Task:
    """Return a task with a clock and windows of 10 µs that take rows for 10 µs more."""
    short = HoppingWindows(Duration.parse("10us"), Duration.parse("10us"), Duration.parse("0s"))
    local, _, windows = window_operators(
        "windows",
        index_column="t",
        windows=short,
        keys=(),
        split=split_aggregates((pl.col("t"),), (pl.len(),), SCHEMA, "t"),
        input_schema=SCHEMA,
        allowed_lateness_us=10,
    )
    clock = AssignWatermarksSpec("clock", "t", pl.Datetime("us"), 0)
    graph = JobGraph(
        (Vertex("above", None, (), None, 1), Vertex("windows", None, (clock, local, windows), None, 1)),
        (Edge("above", "windows", Exchange.FORWARD),),
    )
    return Task(graph, "windows", 0, restored=restored)


def feed(task: Task, *times_us: int) -> None:
    (channel,) = task.inputs
    for us in times_us:
        frame = pl.DataFrame({"t": [dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)], "n": [us]}, schema=SCHEMA)  # noqa: DTZ001
        task.receive(channel, Batch(frame))


def test_an_interval_is_closed_by_the_clock_and_reported_until_newer_ones_come() -> None:
    task = build()
    times = TaskTimes(task, None)
    assert times.status(0).arrivals == ()
    feed(task, 5, 25)
    assert times.status(INTERVAL_US - 1).arrivals == ()
    (arrived,) = times.status(INTERVAL_US).arrivals
    assert (arrived.step, arrived.until_us, arrived.rows, arrived.latest_us) == ("clock", INTERVAL_US, 2, 25)
    assert times.status(2 * INTERVAL_US).arrivals == (arrived,)
    assert times.status(2 * INTERVAL_US).as_of_us == 2 * INTERVAL_US
    assert [clock.step for clock in times.status(0).clocks] == ["clock"]


def test_a_clock_that_was_set_back_closes_intervals_too() -> None:
    task = build()
    times = TaskTimes(task, None)
    times.status(10 * INTERVAL_US)
    feed(task, 5)
    assert len(times.status(INTERVAL_US).arrivals) == 1


def test_late_rows_are_noted_counted_and_told_apart() -> None:
    task = build()
    times = TaskTimes(task, None)
    feed(task, 5, 25, 12, 3)
    late = next(one for one in times.status(0).arrivals if one.step == "windows")
    assert (late.merged_rows, late.late_rows, late.watermark_us) == (1, 1, 24)
    assert task.merged_late_rows == 1
    assert task.counters.late_rows == 1
    assert sum(rows for _, rows in times.status(0).late_by) == 1
    (notes,) = task.late_notes(7)
    assert (notes.tag, notes.step, notes.frame.height) == (LATE_NOTES, "windows", 2)
    assert task.late_notes(8) == []


def test_merged_rows_are_counted_on_after_a_restore() -> None:
    task = build()
    feed(task, 5, 25, 12)
    (channel,) = task.inputs
    out = task.receive(channel, End())
    (last,) = [one for one in out if isinstance(one, Snapshotted)]
    assert last.counters["merged_late_rows"] == 1
    again = build(Restored(1, counters=last.counters))
    assert again.merged_late_rows == 1
    feed(again, 5, 25, 12)
    assert again.merged_late_rows == 2


def test_a_task_that_has_ended_reports_everything_at_once() -> None:
    task = build()
    times = TaskTimes(task, None)
    times.status(0)
    feed(task, 5)
    task.receive(task.inputs[0], Watermark(3))
    task.receive(task.inputs[0], End())
    assert [one.rows for one in times.status(1).arrivals] == [1]
