"""What is noted of rows that came after a window of theirs had closed: for whoever inspects them, not for results."""

from __future__ import annotations

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.event_time.time import MAX_TIME_US, time_us
from streamlab.observe.late_notes import Outcome
from streamlab.observe.time_notes import RowTime, TimeNotes, bucket_of_ms, some_times
from streamlab.operators.windows.columns import END, FINAL, PANE, START
from streamlab.operators.windows.state import row_limits
from streamlab.operators.windows.window_plan import WindowPlan

_MOST = 1000
"""Rows of a batch of which everything is noted, the last ones."""
_AT, _BUCKET, _FIRE = own("at"), own("bucket"), own("fire")


def note_set_aside(notes: TimeNotes, plan: WindowPlan, late: pl.DataFrame) -> None:
    """Note rows that were late for all their windows; their window is the one that took rows longest.

    Rows have the watermarks that they were judged by.
    """
    late = late.filter(pl.col(ROW_WATERMARK) < MAX_TIME_US)
    if not late.height:
        return
    ends = _last_windows(plan, late)
    too_late_ms = (pl.col(FINAL) - pl.col(END) + plan.tick_us) / 1000
    counted = ends.group_by(bucket_of_ms(too_late_ms).alias(_BUCKET)).len()
    notes.late_rows_by(counted.iter_rows())
    newest = late.tail(_MOST)
    details = _details(plan, newest, ends.tail(_MOST), Outcome.SET_ASIDE)
    notes.late(late.height, _some_times(plan, newest), details, _own(plan, newest))


def note_merged(notes: TimeNotes, plan: WindowPlan, taken: pl.DataFrame) -> None:
    """Note those of the rows that were taken by a window which had closed; their window is the last such one."""
    windows = _last_windows(plan, taken, (pl.col(END) > pl.col(FINAL)) & (pl.col(END) <= pl.col(_FIRE)))
    merged = taken[windows[_AT]]
    if merged.height:
        newest = merged.tail(_MOST)
        details = _details(plan, newest, windows.tail(_MOST), Outcome.MERGED)
        notes.merged(merged.height, _some_times(plan, newest), details, _own(plan, newest))


def _last_windows(plan: WindowPlan, rows: pl.DataFrame, which: pl.Expr | None = None) -> pl.DataFrame:
    """Return, in the rows' order, number, start, end and limits of each row's last window, of those with `which`."""
    gap = plan.gap_us
    time = time_us(plan.index_column)
    fire, final = row_limits(plan)
    limits = [fire.alias(_FIRE), final.alias(FINAL)]
    if gap is not None:
        own = rows.select(time.alias(START), (time + gap).alias(END), *limits).with_row_index(_AT)
        return own if which is None else own.filter(which)
    placed = rows.select(plan.pane.alias(PANE), *limits).with_row_index(_AT)
    cases = placed.select(PANE, _FIRE, FINAL).unique()
    windows = plan.grid.windows(cases[PANE].drop_nulls().unique())
    if which is not None:
        near = windows.filter(pl.col(END) > cases[FINAL].min(), pl.col(END) <= cases[_FIRE].max())
        windows = cases.join(near, on=PANE).filter(which)
    else:
        windows = cases.join(windows, on=PANE)
    last = windows.sort(END, START).group_by(PANE, _FIRE, FINAL).agg(pl.col(START, END).last())
    found = placed.join(last, on=[PANE, _FIRE, FINAL], maintain_order="left")
    return found.select(_AT, START, END, _FIRE, FINAL)


def _details(plan: WindowPlan, rows: pl.DataFrame, windows: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    return rows.select(
        pl.lit(str(outcome)).alias("outcome"),
        time_us(plan.index_column).alias("time_us"),
        pl.col(ROW_WATERMARK).alias("watermark_us"),
    ).with_columns(windows[START].alias("start_us"), windows[END].alias("end_us"))


def _some_times(plan: WindowPlan, rows: pl.DataFrame) -> list[RowTime]:
    times = rows.select(time_us(plan.index_column)).to_series()
    return some_times(times.to_numpy(), rows[ROW_WATERMARK].to_numpy())


def _own(plan: WindowPlan, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(plan.input_schema.names())
