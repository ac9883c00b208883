"""Watermarks from a column, in place of those from above.

They follow the rows that raise them, so that a bounded run does not depend on the clock. Rows whose time is null or too
far from 1970 can be in no window and say nothing about time: they go to the dead letters.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.row_watermarks import marked, watermarks_before
from streamlab.core.event_time.time import MIN_TIME_US, is_usable, tick_us, time_bounds, time_us
from streamlab.core.event_time.watermark_assigner import WatermarkAssigner
from streamlab.core.event_time.watermarks import BoundedOutOfOrderness, messages
from streamlab.core.messages import DEAD_LETTERS, Batch, Message
from streamlab.observe.status import ClockStatus
from streamlab.observe.time_notes import TimeNotes, some_times
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.state.forms import Fact, StateForm, dtype_text
from streamlab.state.snapshot import Snapshot


@dataclass(frozen=True)
class AssignWatermarksSpec(OperatorSpec):
    """Drops the watermarks from above, but for the last, and gives ``max(column) - delay - 1 tick`` after each batch.

    Attributes
    ----------
    column : str
        The event time.
    dtype : pl.DataType
        Its dtype: says what one tick is.
    delay_us : int
        How far rows may come out of order, in microseconds.
    idle_timeout_us : int | None
        Processing time without rows after which the stream counts as idle; None: never.
    """

    column: str
    dtype: pl.DataType
    delay_us: int
    idle_timeout_us: int | None = None

    def __post_init__(self) -> None:
        if self.idle_timeout_us is not None and self.idle_timeout_us <= 0:
            got = f"{self.idle_timeout_us} µs"
            raise OptionError(explained(self.step, needed="an idle_timeout above zero", got=got))
        tick_us(self.dtype)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; its state is its watermark."""
        reached = snapshot.values.get("watermark_us") if snapshot else None
        return _AssignWatermarks(self, reached if isinstance(reached, int) else MIN_TIME_US)

    @property
    def goes_by_clock(self) -> bool:
        """Whether it becomes idle by the clock."""
        return self.idle_timeout_us is not None

    @property
    def state_form(self) -> StateForm:
        """The column that the watermark speaks of."""
        return StateForm("watermark", (Fact(f"column {self.column}", dtype_text(self.dtype)),))


class _AssignWatermarks(Operator):
    def __init__(self, spec: AssignWatermarksSpec, start_us: int) -> None:
        self._spec = spec
        self._times = BoundedOutOfOrderness(spec.delay_us, tick_us(spec.dtype), start_us=start_us)
        self._assigner = WatermarkAssigner(idle_timeout_us=spec.idle_timeout_us, start_us=start_us)
        self._notes = self.notes = TimeNotes()

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        out = messages(self._assigner.before_rows())
        frame = batch.collected()
        column = self._spec.column
        before_us = self._times.latest_us
        earliest, latest, all_usable = time_bounds(frame, column)
        if not all_usable:
            usable = is_usable(column, frame.schema[column])
            out.append(
                Batch(self._refused(frame.filter(~usable.fill_null(value=False))), DEAD_LETTERS, batch.ingested_us)
            )
            frame = frame.filter(usable)
            earliest, latest, _ = time_bounds(frame, column)
        if frame.height:
            out.append(Batch(marked(frame, column, before_us, self._times.behind_us), batch.tag, batch.ingested_us))
            if self._notes.wants_sample:
                times = frame.select(time_us(column)).to_series().to_numpy()
                watermarks = watermarks_before(times, before_us, self._times.behind_us)
                self._notes.sampled(some_times(times, watermarks))
            self._notes.arrived(frame.height, earliest, latest)
            out += messages(self._assigner.after_rows(self._times.observe(latest)))
            self._notes.watermark_us = self._times.current
        return out

    def on_watermark(self, us: int) -> list[Message]:
        return messages(self._assigner.on_upstream_watermark(us))

    def advance_watermark(self, us: int) -> list[Message]:
        return messages(self._assigner.after_rows(self._times.advance(us)))

    @property
    def made_watermark_us(self) -> int:
        """The highest that rows, or a hand, have allowed."""
        return self._assigner.current

    def on_timer(self, now_us: int) -> list[Message]:
        return messages(self._assigner.on_timer(now_us))

    @property
    def next_timer_us(self) -> int | None:
        """When to look whether rows have stopped coming."""
        return self._assigner.next_timer_us

    @property
    def clock(self) -> ClockStatus:
        """Its delay and its idle timeout."""
        spec = self._spec
        timeout_ms = None if spec.idle_timeout_us is None else spec.idle_timeout_us / 1000
        return ClockStatus(step=spec.shown, delay_ms=spec.delay_us / 1000, idle_timeout_ms=timeout_ms)

    def snapshot(self) -> Snapshot:
        return Snapshot(values={"watermark_us": self._times.current})

    def _refused(self, rows: pl.DataFrame) -> pl.DataFrame:
        column = self._spec.column
        why = pl.when(pl.col(column).is_null()).then(pl.lit("null")).otherwise(pl.lit("too far from 1970"))
        reasons = rows.select(pl.format("the event time {} is {}", pl.lit(repr(column)), why)).to_series()
        return row_letters(self._spec.shown, rows, reasons, "")
