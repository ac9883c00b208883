"""One task, by calling its methods: watermarks are merged, barriers aligned, ends passed on, failures explained."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import pytest

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.connectors.contracts.sink import Pending, Sink, SinkContext, SinkWriter
from streamlab.core.errors import InternalError, StepFailed
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, Barrier, Batch, End, Idle, Message, Watermark
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.steps import PolarsStepsSpec
from streamlab.runtime.task.exchange import Channel, Emission
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import Output, Restored, SideOutput, Snapshotted
from streamlab.state.snapshot import Snapshot


class _Log(Operator):
    """Counts rows, notes what it was told, and gives one row at each watermark and at the end."""

    def __init__(self, spec: LogSpec, snapshot: Snapshot | None) -> None:
        self._spec = spec
        self._seen = int(snapshot.values["seen"] or 0) if snapshot else 0
        self._timer_us: int | None = spec.timer_us

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame = batch.collected()
        if self._spec.fails:
            msg = "no such luck"
            raise ValueError(msg)
        self._seen += frame.height
        return [batch, *(Batch(_side_rows(frame, tag), tag) for tag in self._spec.side)]

    def on_watermark(self, us: int) -> list[Message]:
        return [Batch(pl.DataFrame({"n": [us]})), Watermark(us)] if us != MAX_TIME_US else [Watermark(us)]

    def on_timer(self, now_us: int) -> list[Message]:
        self._timer_us = None
        return [Batch(pl.DataFrame({"n": [now_us]}))]

    @property
    def next_timer_us(self) -> int | None:
        return self._timer_us

    @property
    def done(self) -> bool:
        return self._spec.limit is not None and self._seen >= self._spec.limit

    def on_end(self) -> list[Message]:
        return [Batch(pl.DataFrame({"n": [-self._seen]}))]

    def snapshot(self) -> Snapshot:
        return Snapshot(values={"seen": self._seen})


def _side_rows(frame: pl.DataFrame, tag: str) -> pl.DataFrame:
    return row_letters("a", frame, "no good", "") if tag == DEAD_LETTERS else frame


@dataclass(frozen=True)
class LogSpec(OperatorSpec):
    side: tuple[str, ...] = ()
    fails: bool = False
    limit: int | None = None
    timer_us: int | None = None

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        return _Log(self, snapshot)


class _ListWriter(SinkWriter):
    def __init__(self, log: list[object]) -> None:
        self._log = log

    def write(self, frame: pl.DataFrame) -> None:
        self._log.append(frame["n"].to_list())

    def prepare(self, checkpoint_id: int) -> Pending:
        self._log.append(f"prepare {checkpoint_id}")
        return (("id", str(checkpoint_id)),)

    def commit(self, pending: Pending) -> None:
        self._log.append(f"commit {dict(pending)['id']}")

    def close(self) -> None:
        self._log.append("close")


@dataclass(frozen=True)
class _ListSink(Sink):
    log: list[object] = field(default_factory=list)
    guarantee = "at-least-once"

    def open(self, context: SinkContext) -> SinkWriter:
        return _ListWriter(self.log)


def _graph(*specs: OperatorSpec, sink: Sink | None = None) -> JobGraph:
    """Two upstream subtasks, the vertex under test, and one downstream."""
    vertices = [Vertex("up", None, (), None, 2), Vertex("mid", None, specs, sink, 1)]
    edges = [Edge("up", "mid", Exchange.REBALANCE)]
    if sink is None:
        vertices.append(Vertex("down", None, (), None, 1))
        edges.append(Edge("mid", "down", Exchange.FORWARD))
    return JobGraph(tuple(vertices), tuple(edges))


def _task(*specs: OperatorSpec, restored: Restored | None = None) -> Task:
    return Task(_graph(*specs), "mid", 0, restored=restored)


ONE, TWO = Channel(0, 0, 0), Channel(0, 1, 0)


def _rows(*values: int) -> Batch:
    return Batch(pl.DataFrame({"n": list(values)}))


GREETING = Watermark(MIN_TIME_US)
"""What a task sends first: that there is somebody."""


def _messages(outputs: list[Output]) -> list[object]:
    """Return what went downstream but for the greeting, with batches as lists of numbers."""
    sent = [output.message for output in outputs if isinstance(output, Emission) and output.message != GREETING]
    return [message.collected()["n"].to_list() if isinstance(message, Batch) else message for message in sent]


def test_rows_go_through_the_chain_in_order() -> None:
    assert _messages(_task(LogSpec("a"), LogSpec("b")).receive(ONE, _rows(1, 2))) == [[1, 2]]


def test_the_watermark_is_the_minimum_of_the_inputs_and_results_come_before_it() -> None:
    task = _task(LogSpec("a"))
    assert _messages(task.receive(ONE, Watermark(10))) == []
    assert _messages(task.receive(TWO, Watermark(7))) == [[7], Watermark(7)]
    assert _messages(task.receive(TWO, Watermark(12))) == [[10], Watermark(10)]
    assert task.counters.watermark_us == 10


def test_an_idle_input_does_not_hold_the_watermark_and_counts_again_once_it_has_caught_up() -> None:
    task = _task()
    task.receive(ONE, Watermark(10))
    assert _messages(task.receive(TWO, Idle())) == [Watermark(10)]
    assert _messages(task.receive(TWO, _rows(1))) == [[1]]
    assert _messages(task.receive(ONE, Watermark(20))) == [Watermark(20)]
    assert _messages(task.receive(TWO, Watermark(30))) == []
    assert _messages(task.receive(ONE, Watermark(40))) == [Watermark(30)]


def test_when_all_inputs_are_idle_so_is_the_task() -> None:
    task = _task()
    task.receive(ONE, Watermark(10))
    task.receive(TWO, Watermark(5))
    assert _messages(task.receive(TWO, Idle())) == [Watermark(10)]
    assert _messages(task.receive(ONE, Idle())) == [Idle()]


def test_the_end_of_all_inputs_ends_the_chain_in_order() -> None:
    task = _task(LogSpec("a"), LogSpec("b"))
    task.receive(ONE, _rows(1))
    assert _messages(task.receive(ONE, End())) == []
    sent = _messages(task.receive(TWO, End()))
    assert sent == [Watermark(MAX_TIME_US), [-1], [-2], End()]
    assert task.finished
    assert task.receive(ONE, _rows(1)) == []


def test_a_full_head_ends_the_stream_at_once() -> None:
    task = _task(LogSpec("a"), LogSpec("head", limit=2), LogSpec("b"))
    assert _messages(task.receive(ONE, _rows(1, 2))) == [[1, 2], Watermark(MAX_TIME_US), [-2], End()]
    assert task.finished


def test_a_barrier_waits_for_all_inputs_and_state_is_taken_before_it_goes_on() -> None:
    task = _task(LogSpec("a"))
    task.receive(ONE, _rows(1))
    assert task.receive(ONE, Barrier(1)) == []
    assert task.is_blocked(ONE)
    with pytest.raises(InternalError, match="blocked"):
        task.receive(ONE, _rows(9))
    task.receive(TWO, _rows(2, 3))
    outputs = task.receive(TWO, Barrier(1))
    assert isinstance(outputs[0], Snapshotted)
    assert outputs[0].checkpoint_id == 1
    assert outputs[0].operators == {"a": Snapshot(values={"seen": 3})}
    assert outputs[0].counters["rows_in"] == 3
    assert _messages(outputs) == [Barrier(1)]
    assert not task.is_blocked(ONE)


def test_an_input_that_has_ended_does_not_hold_a_barrier_up() -> None:
    task = _task(LogSpec("a"))
    task.receive(ONE, Barrier(1))
    assert _messages(task.receive(TWO, End()))[-1] == Barrier(1)


def test_a_task_goes_on_from_its_snapshots() -> None:
    restored = Restored(7, {"a": Snapshot(values={"seen": 40})}, counters={"rows_in": 40, "late_rows": 3})
    task = _task(LogSpec("a"), restored=restored)
    assert task.begin() == []
    task.receive(ONE, _rows(1, 1))
    task.receive(ONE, End())
    assert [-42] in _messages(task.receive(TWO, End()))
    assert (task.counters.rows_in, task.counters.late_rows) == (42, 3)


def test_a_task_goes_on_from_where_it_stood_between_its_inputs() -> None:
    task = _task(LogSpec("a"))
    task.receive(ONE, Watermark(5))
    task.receive(TWO, Watermark(8))
    task.receive(TWO, Idle())
    task.receive(ONE, Barrier(1))
    (taken,) = (one for one in task.receive(TWO, Barrier(1)) if isinstance(one, Snapshotted))
    again = _task(LogSpec("a"), restored=Restored(1, taken.operators, order=taken.order))
    assert _messages(again.begin()) == []
    assert again.counters.watermark_us == 5
    assert again.is_known(ONE, Watermark(5))
    assert again.is_known(TWO, Idle())
    assert not again.is_known(ONE, Idle())
    assert _messages(again.receive(ONE, Watermark(7))) == _messages(task.receive(ONE, Watermark(7)))


def test_a_task_that_was_idle_says_so_again() -> None:
    task = _task(LogSpec("a"))
    task.receive(ONE, Idle())
    task.receive(TWO, Idle())
    task.receive(ONE, Barrier(1))
    (taken,) = (one for one in task.receive(TWO, Barrier(1)) if isinstance(one, Snapshotted))
    again = _task(LogSpec("a"), restored=Restored(1, taken.operators, order=taken.order))
    assert _messages(again.begin()) == [Idle()]


def test_a_task_that_had_ended_only_ends_again() -> None:
    task = _task(LogSpec("a"), restored=Restored(7, finished=True))
    outputs = task.begin()
    assert _messages(outputs) == [End()]
    assert [o.finished for o in outputs if isinstance(o, Snapshotted)] == [True]
    assert task.receive(ONE, _rows(1)) == []
    assert task.begin() == []


def test_side_outputs_leave_the_chain_with_the_name_of_their_step() -> None:
    task = _task(LogSpec("a", side=(LATE_ROWS, DEAD_LETTERS)), LogSpec("b"))
    outputs = task.receive(ONE, _rows(1, 2))
    assert [(o.tag, o.step, o.frame.height) for o in outputs if isinstance(o, SideOutput)] == [
        (LATE_ROWS, "a", 2),
        (DEAD_LETTERS, "a", 2),
    ]
    assert (task.counters.late_rows, task.counters.dead_letters) == (2, 2)


def test_due_timers_run_and_the_next_one_is_known() -> None:
    task = _task(LogSpec("a", timer_us=100), LogSpec("b", timer_us=300))
    assert task.wakeup_us(0) == 100
    assert _messages(task.on_time(99)) == []
    assert _messages(task.on_time(100)) == [[100]]
    assert task.wakeup_us(100) == 300


def test_a_step_that_raises_is_named_with_its_traceback_and_a_sample() -> None:
    task = _task(LogSpec("a"), LogSpec("my step", fails=True))
    with pytest.raises(StepFailed, match="my step: ValueError: no such luck") as caught:
        task.receive(ONE, _rows(41, 42))
    assert caught.value.step == "my step"
    assert "no such luck" in caught.value.traceback_text
    assert "42" in caught.value.sample


def test_a_failure_is_told_alike_however_the_rows_were_cut() -> None:
    read = pl.col("n").cast(pl.String).replace("42", "?").str.to_integer()
    spec = PolarsStepsSpec("read", (("with_columns", (read.alias("m"),), {}),))
    told = []
    for cut in (_rows(42), _rows(*range(40, 90)), _rows(1, 2, 3, 42, 42)):
        with pytest.raises(StepFailed, match="read: ") as caught:
            _task(spec).receive(ONE, cut)
        # The rest of it names expressions by a count that Polars keeps.
        told.append((str(caught.value).partition("\n")[0], caught.value.sample))
    assert len(set(told)) == 1
    assert "42" in told[0][1]


def _with_sink(*specs: OperatorSpec) -> tuple[Task, list[object]]:
    sink = _ListSink("list")
    return Task(_graph(*specs, sink=sink), "mid", 0, writer=sink.open(SinkContext("", 0, 1, 1, "list"))), sink.log


def test_at_the_end_the_sink_prepares_and_commits_when_it_is_told_to() -> None:
    task, log = _with_sink(LogSpec("a"))
    task.receive(ONE, Batch(pl.DataFrame({"n": [1]}), ingested_us=5))
    task.receive(ONE, End())
    (last,) = task.receive(TWO, End())
    assert log == [[1], [-1], "prepare 1"]
    assert isinstance(last, Snapshotted)
    assert last.finished
    assert last.pending == ((("id", "1"),),)
    task.commit(1)
    task.close()
    assert log[3:] == ["commit 1", "close"]
    assert task.counters.ingested_us == [5]


def test_a_barrier_prepares_the_sink_and_commit_comes_later() -> None:
    task, log = _with_sink()
    task.receive(ONE, Barrier(3))
    task.receive(TWO, Barrier(3))
    assert log == ["prepare 3"]
    task.commit(3)
    task.commit(3)
    assert log == ["prepare 3", "commit 3"]


def test_what_was_prepared_for_an_abandoned_checkpoint_goes_with_the_next_one() -> None:
    task, log = _with_sink()
    for checkpoint_id in (3, 4):
        task.receive(ONE, Barrier(checkpoint_id))
        (taken,) = task.receive(TWO, Barrier(checkpoint_id))
    assert isinstance(taken, Snapshotted)
    assert taken.pending == ((("id", "3"),), (("id", "4"),))
    task.receive(ONE, Barrier(5))
    task.receive(TWO, Barrier(5))
    task.commit(4)
    assert log[-2:] == ["commit 3", "commit 4"]


def test_side_outputs_say_which_checkpoint_they_follow() -> None:
    task = _task(LogSpec("a", side=(LATE_ROWS,)))
    epochs = []
    for checkpoint_id in (2, 5):
        epochs += [o.epoch for o in task.receive(ONE, _rows(1)) if isinstance(o, SideOutput)]
        task.receive(ONE, Barrier(checkpoint_id))
        task.receive(TWO, Barrier(checkpoint_id))
    epochs += [o.epoch for o in task.receive(ONE, _rows(1)) if isinstance(o, SideOutput)]
    assert epochs == [0, 2, 5]


def test_an_input_waits_until_every_input_has_been_heard_and_then_those_behind_hear_of_the_task() -> None:
    task = _task()
    assert [task.is_blocked(channel) for channel in (ONE, TWO)] == [False, False]
    assert task.receive(ONE, GREETING) == []
    assert [task.is_blocked(channel) for channel in (ONE, TWO)] == [True, False]
    assert [output.message for output in task.receive(TWO, End()) if isinstance(output, Emission)] == [GREETING]
    assert not task.is_blocked(ONE)
