"""A task: one subtask of one vertex. Pure: messages in, messages out, time as an argument.

It owns a chain: perhaps a source's reader, operators, perhaps a sink's writer. It merges the watermarks of its inputs
(the minimum over those that are not idle), aligns barriers, and passes each message down the chain, collecting what
comes out at the end. The same object runs in worker processes, in the seeded simulation and in unit tests.

The story of one task::

    begin()                      every output is told that there is somebody; an input waits until all have been heard,
                                 so that one without rows (its source has no split) has said so before
    receive(channel, Batch)      operators in order → the sink, or the routers of every outgoing edge
    receive(channel, Watermark)  merged first; passed on only when the minimum over the inputs grows
    receive(channel, Idle)       the input no longer counts; when none counts any more the task itself is idle
    receive(channel, Barrier)    the channel is blocked until the barrier is on all inputs; then state is snapshotted,
                                 and the barrier forwarded after that
    receive(channel, End)        counts as the last watermark; when all inputs ended the operators end, in order, the
                                 sink prepares, and the task is finished
    commit(id)                   the checkpoint is complete: the sink commits what it had prepared up to it
    poll(now)                    only sources: the next rows of the reader go the same way; read(call) lets the reader
                                 do something else, such as a step by hand
    on_time(now)                 due processing-time timers of the operators

The driver never hands a task a message for a channel that is blocked (see :meth:`Task.is_blocked`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import polars as pl

from streamlab.connectors.contracts.sink import Pending, SinkWriter
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.errors import InternalError, StreamlabError
from streamlab.core.event_time.row_watermarks import is_marked, lowered, raised, unmarked
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.event_time.watermarks import Signal
from streamlab.core.failpoints import reach
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, Barrier, Batch, End, Idle, Message, Watermark
from streamlab.graph.job_graph import JobGraph
from streamlab.observe.late_notes import LATE_NOTES
from streamlab.observe.status import ClockStatus
from streamlab.observe.time_notes import TimeNotes
from streamlab.operators.base import Operator, OperatorContext
from streamlab.runtime.task.bad_rows import culprit, fails_again, sift
from streamlab.runtime.task.exchange import Channel, Router, input_channels
from streamlab.runtime.task.failed_steps import is_always_so, step_failed
from streamlab.runtime.task.task_counters import TaskCounters
from streamlab.runtime.task.task_order import order_of, restore_routes, restored_merger
from streamlab.runtime.task.task_values import Output, Passed, Restored, SideOutput, Snapshotted
from streamlab.state.snapshot import Snapshot

_SIDE_OUTPUTS = (LATE_ROWS, DEAD_LETTERS)
_MERGED = "merged_late_rows"
_SET_ASIDE = '\n  → on_error="dead_letter" sets such rows aside (job.dead_letters()) and goes on with the others'
T = TypeVar("T")


class _LazyQueryFailed(Exception):
    """A query that joins the reading of a source with steps failed, and nothing has come of it yet."""


class Task:
    """One subtask of one vertex.

    Parameters
    ----------
    graph, vertex_id, subtask
        Which part of the job it is.
    reader
        The source's reader, for a vertex with a source.
    writer
        The sink's writer, for a vertex with a sink.
    restored
        What to start from; its pending transactions are the driver's to commit.
    sets_aside
        Whether rows that a row-wise step fails on become dead letters; otherwise they end the attempt.
    """

    def __init__(
        self,
        graph: JobGraph,
        vertex_id: str,
        subtask: int,
        *,
        reader: SteppedReader | None = None,
        writer: SinkWriter | None = None,
        restored: Restored | None = None,
        sets_aside: bool = False,
    ) -> None:
        restored = restored or Restored()
        vertex = graph.vertex(vertex_id)
        if (vertex.source is None) != (reader is None) or (vertex.sink is None) != (writer is None):
            text = f"task {vertex_id}[{subtask}]: a reader goes with a source, a writer with a sink"
            raise InternalError(text)
        self.vertex = vertex
        self.subtask = subtask
        self.counters = TaskCounters.of(restored.counters)
        self.current_step = vertex.id
        self.current_input: pl.DataFrame | None = None
        self.finished = False
        self.before_step: Callable[[str, pl.DataFrame | None], None] | None = None
        """Called with the step and its input before each call of a step; the driver may set it."""
        self._reader = reader
        self._writer = writer
        self._sets_aside = sets_aside
        self._lasting = False
        context = OperatorContext(subtask, vertex.parallelism)
        self._specs = vertex.operators
        self._operators: list[Operator] = [
            spec.build(context, restored.operators.get(spec.step)) for spec in vertex.operators
        ]
        self._had_finished = restored.finished
        self._epoch = restored.checkpoint_id
        self._merged_before = restored.counters.get(_MERGED, 0)
        self._prepared: list[tuple[int, Pending]] = []
        if reader is not None:
            reader.rows_read = self.counters.rows_in
            self.counters.bytes_read = reader.bytes_read
        self._ports = input_channels(graph, vertex_id, subtask)
        self.inputs = tuple(self._ports)
        self._merger = restored_merger(len(self.inputs), restored.order)
        if self._merger.current > MIN_TIME_US:
            self.counters.watermark_us = self._merger.current
        self._indexes = {channel: index for index, channel in enumerate(self.inputs)}
        self._routers = [
            Router(edge, index, subtask, graph.vertex(edge.target).parallelism)
            for index, edge in enumerate(graph.edges)
            if edge.source == vertex_id
        ]
        restore_routes(self._routers, restored.order)
        self.outputs = tuple(channel for router in self._routers for channel in router.channels)
        self._ended: set[Channel] = set()
        knows_inputs = restored.order is not None and len(restored.order.channels) == len(self.inputs)
        self._unheard: set[Channel] = set() if knows_inputs else set(self.inputs)
        self._aligning: Barrier | None = None
        self._blocked: set[Channel] = set()
        self._out: list[Output] = []

    # -- what the driver calls -----------------------------------------------------------------------------------

    def receive(self, channel: Channel, message: Message) -> list[Output]:
        """Take one message from an input and return what it brings about.

        Raises
        ------
        StepFailed
            If a step raised; it carries the step, the traceback and a sample of its input.
        """
        if self.finished or channel in self._ended:
            return []
        if channel in self._blocked:
            text = f"{self.vertex.id}[{self.subtask}]: {channel} is blocked until its barrier is aligned"
            raise InternalError(text)
        index = self._indexes[channel]
        self._hear(channel)
        match message:
            case Batch():
                self._count_input(message)
                self._merge(self._merger.on_active(index))
                message = self._merged(message, index)
                self._feed(0, message, self._ports[channel])
            case Watermark(us):
                self._merge(self._merger.on_active(index))
                self._merge(self._merger.on_watermark(index, us))
            case Idle():
                self._merge(self._merger.on_idle(index))
            case Barrier():
                self._aligning = message
                self._blocked.add(channel)
            case End():
                self._ended.add(channel)
                self._merge(self._merger.on_end(index))
        self._finish_alignment()
        if len(self._ended) == len(self.inputs):
            self._end(0)
        return self._taken()

    def poll(self, now_us: int) -> list[Output]:
        """Let the source's reader read once and return what its rows bring about; empty when there are none now."""
        return [] if self._reader is None else self.read(partial(self._reader.poll, now_us))

    def read(self, call: Callable[[], list[Message]]) -> list[Output]:
        """Return what follows from a call of the source's reader."""
        if self.finished:
            return []
        self.current_step = self.vertex.source.name if self.vertex.source else self.vertex.id
        self.current_input = None
        for message in self._guarded(call):
            self._from_source(message)
        return self._taken()

    def advance_watermark(self, us: int) -> list[Output]:
        """Raise the watermarks that are made here by hand, those of the source and of operators."""
        if self.finished:
            return []
        for message in self._reader.advance_watermark(us) if self._reader is not None else ():
            self._from_source(message)
        for at, operator in enumerate(self._operators):
            self.current_step = self._specs[at].written
            self._feed_all(at + 1, operator.advance_watermark(us), at)
        return self._taken()

    @property
    def made_watermark_us(self) -> int | None:
        """The watermark that is made here, by the source or an operator; None when none is, or none any more."""
        if self.finished:
            return None
        made = [operator.made_watermark_us for operator in self._operators]
        made.insert(0, None if self._reader is None else self._reader.made_watermark_us)
        return next((us for us in reversed(made) if us is not None), None)

    def stop(self, now_us: int) -> list[Output]:
        """Stop reading the source: what was read is drained, then the stream ends as if the source had ended."""
        if self._reader is None or self.finished:
            return []
        for message in self._reader.stop(now_us):
            self._from_source(message)
        return self._taken()

    def begin(self) -> list[Output]:
        """Return what there is to do before anything else: one that had ended ends again, one that was idle says so."""
        if self._had_finished and not self.finished:
            self._finish()
            return self._taken()
        if self._reader is not None and self._reader.is_over:
            return self.stop(0)  # there was nothing to read for it from the start
        if not self._unheard:
            self._greet()
        if self._reader is not None and (us := self._reader.watermark_us) > MIN_TIME_US:
            self._feed(0, Watermark(us))
        if self._merger.is_idle:
            for router in self._routers:
                self._out += router.broadcast(Idle())
        return self._taken()

    def inject_barrier(self, barrier: Barrier) -> list[Output]:
        """Let a barrier begin its way at a source: snapshot for a checkpoint, then send it on."""
        if not self.finished:
            self._pass(barrier)
        return self._taken()

    def on_time(self, now_us: int) -> list[Output]:
        """Run the operators' due processing-time timers."""
        for at, operator in enumerate(self._operators):
            due = operator.next_timer_us
            if due is not None and due <= now_us and not self.finished:
                self.current_step = self._specs[at].written
                self._feed_all(at + 1, self._guarded(partial(operator.on_timer, now_us)), at)
        return self._taken()

    def wakeup_us(self, now_us: int) -> int | None:
        """Return when :meth:`on_time` or :meth:`poll` has something to do even if no message comes, or None."""
        wishes = [operator.next_timer_us for operator in self._operators]
        if self._reader is not None and not self.finished:
            wishes.append(self._reader.wakeup_us(now_us))
        return min((wish for wish in wishes if wish is not None), default=None)

    def awaits(self, channel: Channel) -> bool:
        """Return whether something may still come on the channel before the next barrier."""
        return not self.is_blocked(channel) and channel not in self._ended

    def is_blocked(self, channel: Channel) -> bool:
        """Return whether the channel must wait: for a barrier on other inputs, or for the first word of one."""
        return channel in self._blocked or (bool(self._unheard) and channel not in self._unheard)

    def is_known(self, channel: Channel, message: Message) -> bool:
        """Return whether a message from an input says nothing about time that was not known of that input."""
        index = self._indexes[channel]
        match message:
            case Watermark(us):
                return us <= self._merger.watermark_of(index) and not self._merger.is_channel_idle(index)
            case Idle():
                return self._merger.is_channel_idle(index)
            case End():
                return self._merger.watermark_of(index) == MAX_TIME_US and channel not in self._ended
            case _:
                return False

    def watermark_of(self, channel: Channel) -> int:
        """Return an input's own watermark."""
        return self._merger.watermark_of(self._indexes[channel])

    @property
    def is_source(self) -> bool:
        """Whether it reads a source."""
        return self._reader is not None

    def commit(self, checkpoint_id: int) -> None:
        """Make visible what the sink had prepared up to a checkpoint, which is complete."""
        if self._writer is None:
            return
        self.current_step, self.current_input = self.vertex.steps[-1], None
        while self._prepared and self._prepared[0][0] <= checkpoint_id:
            self._guarded(partial(self._writer.commit, self._prepared[0][1]), point="sink.commit")
            reach("sink.commit_ack")
            del self._prepared[0]

    def flush(self) -> None:
        """Let the sink show what it holds; called when there is nothing else to do."""
        if self._writer is not None and not self.finished:
            self._writer.flush()

    @property
    def merged_late_rows(self) -> int:
        """Late rows that windows still took, those before a restore included."""
        return self._merged_before + sum(notes.merged_rows for _, notes in self.notes())

    def notes(self) -> list[tuple[str, TimeNotes]]:
        """Return what its source and its operators have noted of event time, by step."""
        noted = [(spec.shown, op.notes) for spec, op in zip(self._specs, self._operators, strict=True)]
        source = [] if self._reader is None else [(self.vertex.steps[0], self._reader.notes)]
        return source + [(step, notes) for step, notes in noted if notes is not None]

    def clocks(self) -> tuple[ClockStatus, ...]:
        """Return the operators that make watermarks of event times."""
        return tuple(op.clock for op in self._operators if op.clock is not None)

    def panes(self) -> list[tuple[str, pl.DataFrame]]:
        """Return the newest windows of its operators, by step, with the columns of `observe.panes.STORED`."""
        tables = [(spec.shown, op.panes()) for spec, op in zip(self._specs, self._operators, strict=True)]
        return [(step, table) for step, table in tables if table is not None]

    def late_notes(self, now_us: int) -> list[SideOutput]:
        """Return what was noted of late rows since this was last called."""
        taken = [(step, notes.take_late(now_us)) for step, notes in self.notes()]
        return [SideOutput(LATE_NOTES, step, frame, self._epoch) for step, frame in taken if frame is not None]

    def operator_metrics(self) -> dict[str, dict[str, float]]:
        """Return the extra figures of each operator, by step."""
        return {spec.step: op.metrics() for spec, op in zip(self._specs, self._operators, strict=True)}

    def close(self) -> None:
        """Release the reader and the writer; what was not committed stays invisible."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()

    # -- the chain -----------------------------------------------------------------------------------------------

    def _from_source(self, message: Message) -> None:
        if self._reader is not None:
            self.counters.rows_in, self.counters.bytes_read = self._reader.rows_read, self._reader.bytes_read
        match message:
            case Batch(tag=tag) if tag in _SIDE_OUTPUTS:
                self._side_output(message, self.vertex.steps[0])
                return
            case Batch():
                self.counters.batches_in += 1
            case Watermark(us):
                self.counters.watermark_us = us
            case End():
                self._end(0)
                return
        try:
            self._feed(0, message)
        except _LazyQueryFailed:
            self._feed_step_by_step()

    def _feed_step_by_step(self) -> None:
        """Read the last rows again, by themselves, and run one step after the other, to see which one fails."""
        if self._reader is None:
            return
        self.current_step = self.vertex.steps[0]
        self.current_input = None
        for message in self._guarded(self._reader.reread):
            self._from_source(message)

    def _hear(self, channel: Channel) -> None:
        if channel in self._unheard:
            self._unheard.remove(channel)
            if not self._unheard:
                self._greet()

    def _greet(self) -> None:
        """Say to every output that there is somebody: a watermark that says nothing."""
        for router in self._routers:
            self._out += router.broadcast(Watermark(MIN_TIME_US))

    def _merge(self, merged: Sequence[Signal]) -> None:
        for message in merged:
            if isinstance(message, Watermark):
                self.counters.watermark_us = message.us
            if isinstance(message, Watermark | Idle):
                self._feed(0, message)

    def _merged(self, batch: Batch, index: int) -> Batch:
        """Return rows of an input with what their watermarks are when those of the other inputs count, too."""
        frame, merger = batch.collected(), self._merger
        if is_marked(frame):
            frame = lowered(frame, merger.others_of(index), merger.current)
        if merger.is_behind(index):
            frame = raised(frame, None, merger.current)
        return batch if frame is batch.frame else replace(batch, frame=frame)

    def _feed(self, at: int, message: Message, port: int = 0) -> None:
        """Pass a message to operator number `at`, and what comes out of it to those that follow."""
        if self.finished:
            return
        if at == len(self._operators):
            self._emit(message)
            return
        operator = self._operators[at]
        self.current_step = self._specs[at].written
        match message:
            case Batch():
                if isinstance(message.frame, pl.LazyFrame) and not operator.accepts_lazy:
                    message = self._collected(message)
                if isinstance(message.frame, pl.DataFrame):
                    if not message.frame.height:
                        return
                    self.current_input = unmarked(message.frame)
                    if self.current_input is not message.frame and not operator.carries_row_watermarks:
                        message = replace(message, frame=self.current_input)
                reach("op.process")
                out = self._processed(operator, message, port, is_user_code=self._specs[at].is_user_code)
            case Watermark(us):
                out = self._guarded(partial(operator.on_watermark, us))
            case Idle():
                out = self._guarded(operator.on_idle)
            case _:
                out = [message]
        self._feed_all(at + 1, out, at)
        if operator.done and not self.finished:
            self._end(at + 1)

    def _processed(self, operator: Operator, batch: Batch, port: int, *, is_user_code: bool) -> list[Message]:
        if isinstance(batch.frame, pl.LazyFrame):
            return self._guarded(partial(operator.process, batch, port), lazy=True)
        if not operator.is_row_wise:
            return self._guarded(partial(operator.process, batch, port))
        step, hint = self.current_step, "" if self._sets_aside else _SET_ASIDE

        def process(part: Batch) -> list[Message]:
            self.current_input = unmarked(part.collected())
            if self.before_step is not None:
                self.before_step(step, self.current_input)
            return operator.process(part, port)

        def whole() -> list[Message]:
            try:
                return operator.process(batch, port)
            except StreamlabError:
                raise
            except Exception as error:
                found, of_row = culprit(process, batch, error)
                self.current_input = unmarked(found)
                self._lasting = is_user_code and is_always_so(of_row) and fails_again(process, batch, found, of_row)
                raise of_row from None

        return self._guarded(partial(sift, step, process, batch) if self._sets_aside else whole, hint=hint)

    def _feed_all(self, at: int, messages: list[Message], origin: int) -> None:
        for message in messages:
            if isinstance(message, Batch) and message.tag in _SIDE_OUTPUTS:
                self._side_output(message, self._specs[origin].shown)
            else:
                self._feed(at, message)

    def _emit(self, message: Message) -> None:
        """Give a message that has come through the whole chain to the sink and to the outgoing edges."""
        if isinstance(message, Batch):
            message = self._collected(message)
            frame = message.collected()
            if not frame.height:
                return
            self.counters.rows_out += frame.height
            self.counters.bytes_out += int(frame.estimated_size())
            if self._writer is not None:
                self.current_step = self.vertex.steps[-1]
                self.current_input = rows = unmarked(frame)
                self._guarded(partial(self._writer.write, rows), point="sink.write")
                if message.ingested_us is not None:
                    self.counters.ingested_us.append(message.ingested_us)
        for router in self._routers:
            self._out += router.route(message) if isinstance(message, Batch) else router.broadcast(message)

    def _end(self, at: int) -> None:
        """End the operators from number `at` on, then the task."""
        if at:
            # A step that is done ends the stream before its input has given the last watermark.
            self._feed(at, Watermark(MAX_TIME_US))
        for index in range(at, len(self._operators)):
            if self.finished:
                return
            self.current_step = self._specs[index].written
            self._feed_all(index + 1, self._guarded(self._operators[index].on_end), index)
        if not self.finished:
            self._finish()

    def _finish(self) -> None:
        """Prepare what the sink has, say so, and end the outgoing edges."""
        reach("task.finish")
        self.finished = True
        self._snapshot(self._epoch + 1)
        for router in self._routers:
            self._out += router.broadcast(End())
        if self._reader is not None:
            self._reader.close()

    # -- barriers ------------------------------------------------------------------------------------------------

    def _finish_alignment(self) -> None:
        if self._aligning is not None and self._blocked | self._ended == set(self.inputs):
            reach("barrier.align")
            barrier, self._aligning = self._aligning, None
            self._blocked.clear()
            self._pass(barrier)

    def _pass(self, barrier: Barrier) -> None:
        if barrier.kind == "step":
            self._out.append(Passed(barrier.checkpoint_id))
        else:
            self._snapshot(barrier.checkpoint_id)
        reach("barrier.forward")
        for router in self._routers:
            self._out += router.broadcast(barrier)

    def _snapshot(self, checkpoint_id: int) -> None:
        states: dict[str, Snapshot] = {}
        reach("op.snapshot")
        if not self.finished:
            states = {spec.step: op.snapshot() for spec, op in zip(self._specs, self._operators, strict=True)}
        source = self._reader.snapshot() if self._reader is not None else None
        if self._writer is not None:
            self.current_step, self.current_input = self.vertex.steps[-1], None
            prepared = self._guarded(partial(self._writer.prepare, checkpoint_id), point="sink.prepare")
            self._prepared.append((checkpoint_id, prepared))
        self._epoch = checkpoint_id
        pending = tuple(pending for _, pending in self._prepared)
        counters = {**self.counters.lasting(), _MERGED: self.merged_late_rows}
        order = None if self.finished else order_of(self._merger, self._routers)
        self._out.append(Snapshotted(checkpoint_id, states, source, pending, self.finished, counters, order))

    # -- helpers -------------------------------------------------------------------------------------------------

    def _taken(self) -> list[Output]:
        out, self._out = self._out, []
        return out

    def _count_input(self, batch: Batch) -> None:
        frame = batch.collected()
        self.counters.batches_in += 1
        self.counters.rows_in += frame.height
        self.counters.bytes_in += int(frame.estimated_size())

    def _side_output(self, batch: Batch, step: str) -> None:
        frame = batch.collected()
        if batch.tag == LATE_ROWS:
            self.counters.late_rows += frame.height
        else:
            self.counters.note_dead_letters(frame)
        self._out.append(SideOutput(batch.tag, step, frame, self._epoch))

    def _collected(self, batch: Batch) -> Batch:
        if isinstance(batch.frame, pl.DataFrame):
            return batch
        frame = self._guarded(batch.collected, lazy=True)
        return Batch(frame, batch.tag, batch.ingested_us)

    def _guarded(self, call: Callable[[], T], *, lazy: bool = False, hint: str = "", point: str = "") -> T:
        """Run a step; what it raises becomes a StepFailed that shows the step, the traceback and a sample.

        An error in a lazy query may be any step's, or the source's: then _LazyQueryFailed. A failpoint is part of it.
        """
        if self.before_step is not None:
            self.before_step(self.current_step, self.current_input)
        try:
            if point:
                reach(point)
            return call()
        except StreamlabError:
            raise
        except (Exception, pl.exceptions.PanicException) as error:
            if lazy:
                raise _LazyQueryFailed from error
            spec = next((spec for spec in self._specs if spec.written == self.current_step), None)
            raise step_failed(
                error, self.current_step, spec, self.current_input, hint, lasting=self._lasting
            ) from error
