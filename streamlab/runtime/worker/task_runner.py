"""Runs one task inside a worker: hands it what arrives, sends what it gives, and measures.

How a task's time is divided (the three add up to the time that passes):

*busy*           one of its own calls runs
*backpressured*  it has work but is held back: an output has no credit, or its worker is running another task
*idle*           it has nothing to do
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from streamlab.connectors.contracts.sink import SinkWriter
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.errors import OptionError, PlanError, SinkError, StepFailed, StreamlabError
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.failpoints import reach
from streamlab.core.messages import Barrier
from streamlab.core.redaction import without_credentials
from streamlab.observe.preview import shortened
from streamlab.observe.status import Failure, TaskStatus
from streamlab.runtime.messages.protocol import Hello, SourceView, Step, StepTaken
from streamlab.runtime.network.transport import Outlet
from streamlab.runtime.task import task as task_module
from streamlab.runtime.task.exchange import Channel, Emission
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_times import TaskTimes
from streamlab.runtime.task.task_values import Output, Passed, SideOutput, Snapshotted
from streamlab.runtime.worker.inputs import Inputs

RATE_INTERVAL_NS = 500_000_000
"""Figures per second are taken over intervals of at least this length."""
FLUSH_INTERVAL_NS = 20_000_000
"""A sink that is never out of work shows what it holds this often."""
_EMPTY_POLL_US = 1_000
_MAX_EMPTY_POLL_US = 10_000
_LONGEST_PAUSE_US = 100_000


class TaskRunner:
    """One task with the ends of its channels.

    Parameters
    ----------
    task
        What runs.
    reader, writer
        The task's source reader and sink writer, if it has them.
    inputs, outlets
        Its ends of channels.
    store
        Takes side outputs.
    checkpoint
        Takes what the task leaves at a barrier, and for how long (µs) the task waited for all barriers.
    stepped
        Called when everything that follows from the step of this number has been done and shown.
    halted
        Called with the number of a command to halt, and where its source will halt at the earliest, or stands; and
        with 0 and the last checkpoint before the source's end.
    keep_checkpoints
        How many complete checkpoints are kept.
    """

    def __init__(
        self,
        task: Task,
        *,
        reader: SteppedReader | None,
        writer: SinkWriter | None,
        inputs: Inputs,
        outlets: dict[Channel, Outlet],
        store: Callable[[SideOutput], None],
        checkpoint: Callable[[Snapshotted, int], None],
        stepped: Callable[[TaskRunner, int], None],
        halted: Callable[[TaskRunner, int, int], None],
        keep_checkpoints: int,
    ) -> None:
        self.task = task
        self.first_row_us: int | None = None
        self.last: Snapshotted | None = None
        """What the task left at its end."""
        self._reader = reader
        self._writer = writer
        self._inputs = inputs
        self._outlets = outlets
        self._store = store
        self._checkpoint = checkpoint
        self._stepped = stepped
        self._halted = halted
        self._halt: int | None = None
        """Number of the command to halt that has not been answered."""
        self._by_hand = False
        self._committed: deque[int] = deque(maxlen=keep_checkpoints)
        self._positions: dict[int, ReaderSnapshot] = {}
        """Where the source was at checkpoints that may be restored."""
        self._barrier_ns: int | None = None
        self._held = False
        self._poll_pause_us = _EMPTY_POLL_US
        self._poll_at_us = 0
        self._flushed_rows = 0
        self._meter = _Meter(task)
        self._times = TaskTimes(task, reader)

    @property
    def has_waiting(self) -> bool:
        """Whether something has arrived that was not taken."""
        return len(self._inputs) > 0

    def run_once(self, now_us: int, *, paused: bool) -> bool:
        """Do the next piece of work, if there is one that may be done, and return whether there was.

        Raises
        ------
        StreamlabError
            What the task raised.
        """
        if self.task.finished:
            self._inputs.discard()
            return False
        started_ns = self._meter.begin()
        worked = self._can_send() and self._work(now_us, paused=paused)
        if self.task.vertex.sink is not None:
            self._show(started_ns, worked=worked)
        held_back = not self._can_send() or (worked and (self.task.is_source or self.has_waiting))
        self._meter.end(held_back=held_back)
        return worked

    def begin(self) -> None:
        """Do what comes before anything else: a task that had ended when it was restored ends again."""
        self._send(self.task.begin())

    def stop(self, now_us: int) -> None:
        """Stop reading, if it is a source; what was read is drained."""
        self._send(self.task.stop(now_us))

    def trigger(self, barrier: Barrier, *, then_hold: bool) -> None:
        """Send a barrier from a source, and read nothing after it when the job ends with it."""
        if self._reader is not None and not self.task.finished:
            reach("barrier.inject")
            self._send(self.task.inject_barrier(barrier))
            self._reader.passed(barrier.checkpoint_id)
            self.halt(0, None)
            self._held = self._held or then_hold

    def halt(self, number: int, at: int | None) -> None:
        """Read the source up to a checkpoint of the job that is replayed; see :meth:`.SourceReader.halt`."""
        reader = self._reader
        if reader is None or self.task.finished:
            return
        if at == 0:
            at = reader.next_checkpoint
            self._halted(self, number, at)
            number = 0
        reader.halt(at)
        self._halt = number or None
        self._poll_at_us = 0

    def pause(self, now_us: int) -> None:
        """Take note that the source is not read for a while."""
        if self._reader is not None:
            self._reader.pause(now_us)

    def set_pace(self, factor: float | None) -> None:
        """Read the source at another pace from the next batch on."""
        if self._reader is not None:
            self._reader.set_pace(factor)
            self._poll_at_us = 0

    def go_by_hand(self, *, by_hand: bool) -> None:
        """Take inputs in an order that does not depend on what arrives first, whatever the credit; or no longer."""
        self._by_hand = by_hand
        self._inputs.go_by_hand(by_hand=by_hand)
        if self._reader is not None and not by_hand:
            self._reader.read_to(None)

    def step(self, command: Step, goal: ReaderSnapshot | None, now_us: int) -> None:
        """Do one thing by hand; then, at a source, send the barrier behind it."""
        if self.task.finished:
            return
        self._inputs.begin_step(command.number)
        self._send(self.task.on_time(now_us))
        reader, is_meant = self._reader, (self.task.vertex.id, self.task.subtask) in command.tasks
        if command.action == "advance":
            self._send(self.task.advance_watermark(command.us))
        if reader is None:
            return
        reader.read_to(goal)
        reader.stepped = {}
        if command.action == "read":
            call = partial(reader.step, now_us, command.rows) if is_meant else reader.look
            self._send(self.task.read(call))
        elif command.action == "end" and is_meant:
            self.stop(now_us)
        self._send(self.task.on_time(now_us))
        self._send(self.task.inject_barrier(Barrier(command.number, "step")))

    def taken(self, who: Hello, number: int, now_us: int, wall_us: int) -> StepTaken:
        """Return what is reported of a step when the task is through with it; `wall_us` is the time of day."""
        task, reader, view = self.task, self._reader, None
        if reader is not None:
            wakeup_us = reader.wakeup_us(now_us)
            view = SourceView(reader.next_order, reader.is_over, wakeup_us, reader.stepped, task.counters.rows_in)
        status = self.status(now_us, wall_us)
        return StepTaken(who.worker, who.attempt, number, status, task.made_watermark_us, view)

    def commit(self, checkpoint_id: int) -> None:
        """Commit what the sink had prepared, and forget what no checkpoint needs that is still kept."""
        self.task.commit(checkpoint_id)
        if checkpoint_id not in self._committed:
            self._committed.append(checkpoint_id)
        oldest = self._committed[0]
        if len(self._committed) == self._committed.maxlen:
            self._inputs.forget_before(oldest)
            if self._reader is not None and oldest in self._positions:
                self._reader.release(self._positions[oldest])
                self._reader.forget_before(oldest)
        self._positions = {key: at for key, at in self._positions.items() if key >= oldest}

    def wakeup_us(self, *, paused: bool, now_us: int) -> int | None:
        """Return the wall clock at which there is something to do even if nothing arrives, or None."""
        if self.task.finished or not self._can_send():
            return None
        if self._reader is None:
            return self.task.wakeup_us(now_us)
        if paused or self._held:
            return None
        wish = self.task.wakeup_us(now_us)
        return self._poll_at_us if wish is None else min(wish, self._poll_at_us)

    def status(self, now_us: int, stepped_us: int | None = None) -> TaskStatus:
        """Return the task's figures; `stepped_us` is the wall clock at the end of a step by hand."""
        writer = self._writer
        dropped, nulled = (writer.rows_dropped, writer.values_nulled) if writer is not None else (0, 0)
        status = self._meter.status(now_us, self._inputs.batches, dropped)
        for notes in self.task.late_notes(now_us):
            self._store(notes)
        is_there = self._reader is not None and self._reader.reached
        time = self._times.status(now_us, stepped_us)
        return msgspec.structs.replace(status, values_nulled=nulled, reached=is_there, time=time)

    def _can_send(self) -> bool:
        return self._by_hand or all(outlet.credit > 0 for outlet in self._outlets.values())

    def _work(self, now_us: int, *, paused: bool) -> bool:
        out = self.task.on_time(now_us)
        self._send(out)
        if paused:
            self._inputs.wait()
        received = self._inputs.take(now_us)
        if received is not None:
            if self._barrier_ns is None and isinstance(received[1], Barrier) and received[1].kind != "step":
                self._barrier_ns = time.perf_counter_ns()
            self._send(self.task.receive(*received))
            return True
        if self._reader is None or paused or self._held or self.task.finished:
            return bool(out)
        return self._poll(self._reader, now_us) or bool(out)

    def _poll(self, reader: SteppedReader, now_us: int) -> bool:
        if now_us < self._poll_at_us - _LONGEST_PAUSE_US:
            self._poll_at_us = now_us  # the clock was set back
        if now_us < self._poll_at_us:
            return False
        rows = reader.rows_read
        out = self.task.poll(now_us)
        self._send(out)
        self._say_halt(reader)
        if reader.rows_read > rows or self.task.finished:
            if self.first_row_us is None:
                self.first_row_us = now_us
            self._poll_pause_us, self._poll_at_us = _EMPTY_POLL_US, 0
            return True
        wish = reader.wakeup_us(now_us)
        if wish is None:
            self._poll_at_us = now_us + self._poll_pause_us
            self._poll_pause_us = min(self._poll_pause_us * 2, _MAX_EMPTY_POLL_US)
        else:
            self._poll_at_us = min(max(wish, now_us + _EMPTY_POLL_US), now_us + _LONGEST_PAUSE_US)
        return bool(out)

    def _send(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Emission):
                self._outlets[output.channel].send(output.message)
            elif isinstance(output, SideOutput):
                self._store(output)
            elif isinstance(output, Passed):
                self._show_all()
                self._stepped(self, output.number)
            elif output.finished:
                self._inputs.close()
                self.last = output
            else:
                began_ns, self._barrier_ns = self._barrier_ns, None
                waited_ns = 0 if began_ns is None else time.perf_counter_ns() - began_ns
                if output.source is not None:
                    self._positions[output.checkpoint_id] = output.source
                self._inputs.passed(output.checkpoint_id)
                self._checkpoint(self._with_turns(output), waited_ns // 1000)

    def _say_halt(self, reader: SteppedReader) -> None:
        at = reader.halted_at
        if self.task.finished:
            self._halted(self, 0, reader.last_checkpoint)
        elif self._halt is not None and at is not None:
            self._halted(self, self._halt, at)
            self._halt = None

    def _with_turns(self, taken: Snapshotted) -> Snapshotted:
        if taken.order is None:
            return taken
        return replace(taken, order=msgspec.structs.replace(taken.order, turns=self._inputs.followed))

    def _show(self, now_ns: int, *, worked: bool) -> None:
        """Let the sink show its rows when nothing else is to do, or when that is long ago; take latencies then."""
        counters = self.task.counters
        if counters.rows_out == self._flushed_rows and not counters.ingested_us:
            return
        if worked and not self.task.finished and now_ns - self._meter.flushed_ns < FLUSH_INTERVAL_NS:
            return
        self._show_all()

    def _show_all(self) -> None:
        counters = self.task.counters
        self.task.flush()
        self._flushed_rows = counters.rows_out
        self._meter.flushed(counters.ingested_us)
        counters.ingested_us = []


class _Meter:
    """Measures a task: how its time divides, rates over an interval, latency."""

    def __init__(self, task: Task) -> None:
        self._task = task
        now = time.perf_counter_ns()
        self.flushed_ns = now
        self._last_ns = now
        self._started_ns = 0
        self._held_back = False
        self._made_ns = self._interval_ns = now
        self._busy_ns = self._backpressured_ns = 0
        self._total = (0, 0)
        self._first_rows = self._interval_rows = task.counters.rows_in, task.counters.rows_out, 0
        self._rates = _NO_RATES
        self._latencies_ms: list[float] = []
        self._p50: float | None = None
        self._p99: float | None = None
        self._state = (0, 0)

    def begin(self) -> int:
        """Begin the task's turn: what passed since the last one was waiting."""
        now = time.perf_counter_ns()
        if self._held_back:
            self._backpressured_ns += now - self._last_ns
        self._started_ns = now
        return now

    def end(self, *, held_back: bool) -> None:
        """End its turn."""
        now = time.perf_counter_ns()
        self._busy_ns += now - self._started_ns
        self._last_ns = now
        self._held_back = held_back

    def flushed(self, ingested_us: Sequence[int]) -> None:
        """Take the latencies of rows that the sink has just shown."""
        self.flushed_ns = time.perf_counter_ns()
        now_us = time.time_ns() // 1000
        self._latencies_ms += [(now_us - us) / 1000 for us in ingested_us]

    def status(self, now_us: int, queued_batches: int, rows_dropped: int) -> TaskStatus:
        """Return the figures; rates of a finished task are those of its whole life."""
        now = time.perf_counter_ns()
        task, counters = self._task, self._task.counters
        if task.finished or now - self._interval_ns >= RATE_INTERVAL_NS:
            self._close_interval(now)
        watermark = counters.watermark_us
        is_time = watermark is not None and MIN_TIME_US < watermark < MAX_TIME_US
        return TaskStatus(
            vertex=task.vertex.id,
            subtask=task.subtask,
            steps=task.vertex.steps,
            rows_in=counters.rows_in,
            rows_out=counters.rows_out,
            bytes_read=counters.bytes_read,
            bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out,
            queued_batches=queued_batches,
            watermark_us=watermark if watermark is None or watermark > MIN_TIME_US else None,
            lag_ms=(now_us - watermark) / 1000 if watermark is not None and is_time else None,
            late_rows=counters.late_rows,
            merged_late_rows=task.merged_late_rows,
            dead_letters=counters.dead_letters,
            dead_letter=counters.first_letter,
            rows_dropped=rows_dropped,
            state_rows=self._state[0],
            state_bytes=self._state[1],
            latency_p50_ms=self._p50,
            latency_p99_ms=self._p99,
            finished=task.finished,
            **self._rates,
        )

    def _close_interval(self, now: int) -> None:
        counters = self._task.counters
        self._total = self._total[0] + self._busy_ns, self._total[1] + self._backpressured_ns
        rows = counters.rows_in, counters.rows_out, counters.batches_in
        if self._task.finished:
            elapsed_s = max(now - self._made_ns, 1) / 1e9
            (busy, held), past = self._total, self._first_rows
        else:
            elapsed_s = max(now - self._interval_ns, 1) / 1e9
            busy, held, past = self._busy_ns, self._backpressured_ns, self._interval_rows
        busy_ms = min(busy / 1e6 / elapsed_s, 1000.0)
        held_ms = min(held / 1e6 / elapsed_s, 1000.0 - busy_ms)
        batches = rows[2] - past[2]
        self._rates = {
            "rows_in_per_s": (rows[0] - past[0]) / elapsed_s,
            "rows_out_per_s": (rows[1] - past[1]) / elapsed_s,
            "busy_ms_per_s": busy_ms,
            "backpressured_ms_per_s": held_ms,
            "idle_ms_per_s": 1000.0 - busy_ms - held_ms,
            "batch_rows": (rows[0] - past[0]) / batches if batches else 0.0,
            "batch_duration_ms": busy / 1e6 / batches if batches else None,
        }
        self._interval_ns, self._interval_rows = now, rows
        self._busy_ns = self._backpressured_ns = 0
        if self._latencies_ms:
            ordered = sorted(self._latencies_ms)
            self._p50, self._p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
            self._latencies_ms = []
        metrics = self._task.operator_metrics().values()
        self._state = (
            int(sum(m.get("state_rows", 0) for m in metrics)),
            int(sum(m.get("state_bytes", 0) for m in metrics)),
        )


_MOST_LETTERS = 4_000
"""Characters of an error's text that are told."""
_NO_RATES: dict[str, Any] = {"rows_in_per_s": 0.0, "rows_out_per_s": 0.0}


def stack_text(stack: traceback.StackSummary) -> str:
    """Return a stack as text, from the task's call of a step on."""
    calls = [index for index, frame in enumerate(stack) if frame.filename == task_module.__file__]
    below = traceback.StackSummary.from_list(stack[calls[-1] + 1 :] if calls else stack)
    return "".join(below.format())


def failure_of(error: BaseException, step: str, sample: str = "") -> Failure:
    """Return what is told of an error that ended a job, shortened: it may quote all the data that it tripped over."""
    told = _failure_of(error, step, sample)
    return msgspec.structs.replace(
        told,
        message=shortened(without_credentials(told.message), _MOST_LETTERS),
        traceback=shortened(without_credentials(told.traceback), 2 * _MOST_LETTERS),
        sample=shortened(told.sample, _MOST_LETTERS),
    )


def _failure_of(error: BaseException, step: str, sample: str) -> Failure:
    stack = stack_text(traceback.extract_tb(error.__traceback__))
    traceback_text = f"Traceback (most recent call last):\n{stack}{type(error).__name__}: {error}\n"
    if isinstance(error, StepFailed):
        return Failure(
            message=str(error),
            step=error.step or step,
            traceback=error.traceback_text or traceback_text,
            sample=error.sample or sample,
            lasting=error.lasting,
        )
    if isinstance(error, StreamlabError):
        # It was raised on purpose and explains itself; the rows at hand have nothing to do with it.
        lasting = isinstance(error, PlanError | OptionError) or (isinstance(error, SinkError) and error.lasting)
        kind = type(error).__name__
        return Failure(message=str(error), step=step, traceback=traceback_text, kind=kind, lasting=lasting)
    return Failure(
        message=f"{step}: {type(error).__name__}: {error}", step=step, traceback=traceback_text, sample=sample
    )
