"""The half of a window aggregation behind the hash exchange: keeps windows, fires them, judges lateness.

A window fires when the watermark reaches its end minus one tick, once (Flink: ``EventTimeTrigger``). With early results
or an allowed lateness it can give more than one result; then frames carry the row kind, and every further result takes
back the one before it, where Flink's ``WindowOperator`` just gives a window's result again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import InternalError
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK, is_marked
from streamlab.core.event_time.time import MIN_TIME_US
from streamlab.core.event_time.windows import EveryDuration, EveryRows, SessionWindows
from streamlab.core.messages import LATE_ROWS, UNAGGREGATED, Batch, Message, Watermark
from streamlab.observe.time_notes import TimeNotes
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.windows.columns import CLOSED, PANE, ROWS
from streamlab.operators.windows.current_results import CurrentResults
from streamlab.operators.windows.grid_state import GridState
from streamlab.operators.windows.lateness import note_merged, note_set_aside
from streamlab.operators.windows.recent_windows import RecentWindows
from streamlab.operators.windows.sessions.session_state import SessionState
from streamlab.operators.windows.state import Limits, WindowState
from streamlab.operators.windows.window_form import window_form
from streamlab.operators.windows.window_plan import WindowPlan
from streamlab.state.forms import StateForm
from streamlab.state.snapshot import Snapshot

_MOST_TOUCHED = 64
"""Frames of touched windows that gather before they are made one."""


@dataclass(frozen=True)
class WindowAggregateSpec(OperatorSpec):
    """Window aggregation over keyed input.

    Attributes
    ----------
    plan : WindowPlan
        The aggregation; the same value that `PreAggregateSpec` has.
    """

    plan: WindowPlan = field(kw_only=True)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator, with the windows of a snapshot."""
        return WindowAggregate(self.plan, snapshot or Snapshot())

    @property
    def goes_by_clock(self) -> bool:
        """Whether a trigger gives early results by the clock."""
        return isinstance(self.plan.trigger, EveryDuration)

    def combined_state(self, part: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return one row for each key and pane; they are put together only when many have come, or the window fires."""
        by = {"panes": (PANE,), "partly_late": (PANE, CLOSED)}.get(part)
        return rows if by is None else self.plan.merged(rows, *by)

    @property
    def state_form(self) -> StateForm:
        """The windows, the keys and the aggregates."""
        return window_form(self.plan)


class WindowAggregate(Operator):
    """Takes state rows (`MAIN`) and keyed rows (`UNAGGREGATED`); gives results (`MAIN`) and `LATE_ROWS`."""

    carries_row_watermarks: ClassVar[bool] = True

    def __init__(self, plan: WindowPlan, snapshot: Snapshot) -> None:
        self._plan = plan
        self._state: WindowState = (
            SessionState(plan, snapshot.keyed)
            if isinstance(plan.windows, SessionWindows)
            else GridState(plan, snapshot.keyed)
        )
        self._emitted = CurrentResults(plan, snapshot.keyed.get("emitted", ()))
        self._touched = list(snapshot.keyed.get("touched", ()))
        self._watermark = _number(snapshot, "watermark")
        self._promised = _number(snapshot, "promised")
        self._limits = Limits.at(self._watermark, plan)
        self._timer: int | None = None
        self._late_rows = 0
        self._fired = 0
        self._notes = self.notes = TimeNotes()
        self._ledger = RecentWindows(plan)

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Add rows; return late ones, and results that closed windows or a trigger give at once."""
        frame = batch.collected()
        if not frame.height:
            return []
        if batch.tag == UNAGGREGATED:
            return self._add_rows(frame, batch.ingested_us)
        if not self._state.is_on_time(frame, self._limits):
            text = "rows of a closed window were combined before the exchange: the local watermark is behind this one"
            raise InternalError(text)
        self._state.add(frame)
        return self._added(frame, batch.ingested_us)

    def on_watermark(self, us: int) -> list[Message]:
        """Return the results of the windows that close, then the earliest start that a later result can have."""
        if us <= self._watermark:
            return []
        before, self._limits = self._limits, Limits.at(us, self._plan)
        self._watermark = self._notes.watermark_us = us
        out = self._given(self._state.fire(before, self._limits))
        self._state.forget(self._limits)
        if self._plan.updating:
            self._emitted.forget(self._limits.final, self._state.goes_on)
        promised = self._state.promise(us, self._limits)
        if promised > self._promised:
            self._promised = promised
            out.append(Watermark(promised))
        return out

    def on_timer(self, now_us: int) -> list[Message]:
        """Return early results of the open windows that got rows, at every multiple of the trigger's interval."""
        trigger = self._plan.trigger
        if not isinstance(trigger, EveryDuration) or not self._touched:
            return []
        is_due = self._timer is not None and now_us >= self._timer
        interval = trigger.interval.fixed_us("trigger")
        self._timer = (now_us // interval + 1) * interval if is_due or self._timer is None else self._timer
        if not is_due:
            return []
        touched = pl.concat(self._touched).unique()
        self._touched.clear()
        return self._given(self._state.open_results(touched, self._limits))

    @property
    def next_timer_us(self) -> int | None:
        """The next multiple of the interval; at once when the time is not known yet; None without new rows."""
        if not self._touched:
            return None
        return MIN_TIME_US if self._timer is None else self._timer

    def snapshot(self) -> Snapshot:
        """Return the windows, the results that may change, and the watermarks."""
        keyed = {**self._state.frames, "emitted": self._emitted.frames, "touched": tuple(self._touched)}
        values = {"watermark": self._watermark, "promised": self._promised}
        return Snapshot({name: frames for name, frames in keyed.items() if frames}, values, self._plan.key_columns)

    def panes(self) -> pl.DataFrame:
        """Return the windows that are open, and the newest of those that have fired."""
        return self._ledger.panes(self._state, self._limits)

    def metrics(self) -> dict[str, float]:
        """Return rows that were late, size of the state, and results of windows that closed."""
        state = self.snapshot()
        return {
            "late_rows": float(self._late_rows),
            "state_rows": float(state.rows),
            "state_bytes": float(state.size_bytes),
            "state_frames": float(sum(len(frames) for frames in state.keyed.values())),
            "window_results": float(self._fired),
        }

    def _add_rows(self, rows: pl.DataFrame, ingested_us: int | None) -> list[Message]:
        if is_marked(rows):
            # No row is judged by less than what has been given out.
            rows = rows.with_columns(pl.col(ROW_WATERMARK).clip(lower_bound=self._watermark))
        taken, late = self._state.judge(rows, self._limits)
        out: list[Message] = []
        if late.height:
            self._late_rows += late.height
            note_set_aside(self._notes, self._plan, self._with_watermarks(late))
            out.append(Batch(late.select(self._plan.input_schema.names()), LATE_ROWS, ingested_us))
        if self._plan.allowed_lateness_us and taken.height:
            note_merged(self._notes, self._plan, self._with_watermarks(taken))
        for closed, state_rows in self._state.parts(taken):
            out += self._given(closed, ingested_us)
            added = self._plan.collected(state_rows, large=self._plan.is_large(taken))
            if added.height:
                self._state.add(added)
                out += self._given(self._state.refire(added, self._limits), ingested_us)
                out += self._added(added, ingested_us)
        return out

    def _with_watermarks(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the watermark that each was judged by."""
        return rows if is_marked(rows) else rows.with_columns(pl.lit(self._watermark, pl.Int64).alias(ROW_WATERMARK))

    def _added(self, added: pl.DataFrame, ingested_us: int | None) -> list[Message]:
        """Return what a trigger gives for state rows that have come in."""
        trigger = self._plan.trigger
        if isinstance(trigger, EveryDuration):
            if not self._touched and self._timer is not None:
                self._timer = None
            self._touched.append(self._state.touched(added))
            if len(self._touched) > _MOST_TOUCHED:
                self._touched = [pl.concat(self._touched).unique()]
        if not isinstance(trigger, EveryRows):
            return []
        results = self._state.open_results(added, self._limits)
        if results is None:
            return []
        since = results[ROWS] - self._emitted.rows_given(results)
        return self._given(results.filter(since >= trigger.rows), ingested_us)

    def _given(self, results: pl.DataFrame | None, ingested_us: int | None = None) -> list[Message]:
        """Return results under the user's names, as a changelog if the stream is one."""
        if results is None or not results.height:
            return []
        self._fired += results.height
        if not self._plan.updating:
            self._ledger.note(results, self._limits)
            return [Batch(self._plan.output(results), ingested_us=ingested_us)]
        found = self._emitted.changes(results)
        self._ledger.note(results, self._limits, found)
        changes = self._plan.output(found, ROW_KIND)
        return [Batch(changes, ingested_us=ingested_us)] if changes.height else []


def _number(snapshot: Snapshot, name: str) -> int:
    value = snapshot.values.get(name, MIN_TIME_US)
    return value if isinstance(value, int) else MIN_TIME_US
