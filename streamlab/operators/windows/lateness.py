"""What is noted of rows that came after a window of theirs had closed: for whoever inspects them, not for results."""

from __future__ import annotations

import polars as pl

from streamlab.core.time import MAX_TIME_US, time_us
from streamlab.observe.late_notes import Outcome
from streamlab.observe.time_notes import TimeNotes, bucket_of_ms, some_times
from streamlab.operators.windows.columns import END, PANE, START
from streamlab.operators.windows.state import Limits
from streamlab.operators.windows.window_plan import WindowPlan

_MOST = 1000
"""Rows of a batch of which everything is noted, the last ones."""
_AT, _BUCKET = "__at", "__bucket"


def note_dropped(notes: TimeNotes, plan: WindowPlan, late: pl.DataFrame, watermark: int, limits: Limits) -> None:
    """Note rows that were late for all their windows; their window is the one that took rows longest."""
    if watermark == MAX_TIME_US:
        return
    ends = _last_windows(plan, late, None)
    too_late_ms = (limits.final - pl.col(END) + plan.tick_us) / 1000
    counted = ends.group_by(bucket_of_ms(too_late_ms).alias(_BUCKET)).len()
    notes.late_rows_by(counted.iter_rows())
    newest = late.tail(_MOST)
    details = _details(plan, newest, ends.tail(_MOST), Outcome.DROPPED, watermark)
    notes.late(late.height, some_times(newest, plan.index_column), details, _own(plan, newest))


def note_merged(notes: TimeNotes, plan: WindowPlan, taken: pl.DataFrame, watermark: int, limits: Limits) -> None:
    """Note those of the rows that were taken by a window which had closed; their window is the last such one."""
    windows = _last_windows(plan, taken, (pl.col(END) > limits.final) & (pl.col(END) <= limits.fire))
    merged = taken[windows[_AT]]
    if merged.height:
        newest = merged.tail(_MOST)
        details = _details(plan, newest, windows.tail(_MOST), Outcome.MERGED, watermark)
        notes.merged(merged.height, some_times(newest, plan.index_column), details, _own(plan, newest))


def _last_windows(plan: WindowPlan, rows: pl.DataFrame, which: pl.Expr | None) -> pl.DataFrame:
    """Return, in the rows' order, number, start and end of the last window of each row, of those with `which`."""
    gap = plan.gap_us
    time = time_us(plan.index_column)
    if gap is not None:
        own = rows.select(time.alias(START), (time + gap).alias(END)).with_row_index(_AT)
        return own if which is None else own.filter(which)
    placed = rows.select(plan.pane().alias(PANE)).with_row_index(_AT)
    windows = plan.grid.windows(placed[PANE].unique())
    if which is not None:
        windows = windows.filter(which)
    last = windows.sort(END, START).group_by(PANE).agg(pl.col(START, END).last())
    return placed.join(last, on=PANE, maintain_order="left").select(_AT, START, END)


def _details(
    plan: WindowPlan, rows: pl.DataFrame, windows: pl.DataFrame, outcome: Outcome, watermark: int
) -> pl.DataFrame:
    return rows.select(
        pl.lit(str(outcome)).alias("outcome"),
        time_us(plan.index_column).alias("time_us"),
        pl.lit(watermark, pl.Int64).alias("watermark_us"),
    ).with_columns(windows[START].alias("start_us"), windows[END].alias("end_us"))


def _own(plan: WindowPlan, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(plan.input_schema.names())
