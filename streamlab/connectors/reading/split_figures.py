"""What is shown of a source's splits and of the event times of their rows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import polars as pl

from streamlab.connectors.contracts.dead_letters import rows_as_text
from streamlab.connectors.contracts.source import Source
from streamlab.connectors.formats.base import UNREADABLE
from streamlab.connectors.reading.split_cursor import SplitCursor
from streamlab.connectors.reading.split_watermarks import SplitWatermarks
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, time_us
from streamlab.core.event_time.watermarks import PartitionWatermarks
from streamlab.observe.status import ClockStatus, FurthestRow, SplitStatus
from streamlab.observe.time_notes import TimeNotes, some_times

FAR_US = 86_400_000_000
"""So far ahead of others, or of the clock, a row is worth being known."""
_SHOWN = 200
"""Characters of it that are shown."""


def source_clocks(source: Source) -> tuple[ClockStatus, ...]:
    """Return the clock that a source is; nothing when it makes no watermarks."""
    timing = source.timing
    if timing.watermark is None:
        return ()
    delay_ms = timing.watermark.fixed_us("watermark") / 1000
    timeout_ms = None if timing.idle_timeout is None else timing.idle_timeout.fixed_us("idle_timeout") / 1000
    return (ClockStatus(step=source.name, delay_ms=delay_ms, idle_timeout_ms=timeout_ms),)


def split_statuses(
    step: str,
    cursors: Mapping[str, SplitCursor],
    finished: Mapping[str, tuple[int, int]],
    watermarks: PartitionWatermarks,
    most: int,
) -> tuple[SplitStatus, ...]:
    """Return what is known of the splits of one subtask, those that hold the watermark back first.

    Parameters
    ----------
    step
        Name of the source.
    cursors
        Splits that are being read or will be.
    finished
        Rows and watermark of those that have ended, oldest first.
    watermarks
        Where the splits being read are in event time.
    most
        How many are returned; of those that have ended the newest.
    """
    # One more, since all that have ended may count as one there.
    order = [name for name in watermarks.lowest(most + 1) if name in cursors][:most]
    shown = [
        SplitStatus(
            split=name,
            step=step,
            rows=cursors[name].rows_given,
            watermark_us=_known(watermarks.watermark_of(name)),
            latest_us=cursors[name].latest_us,
            last_row_us=cursors[name].given_at_us,
            begun=cursors[name].begun,
            idle=watermarks.is_split_idle(name),
        )
        for name in order
    ]
    ended = list(finished.items())[len(shown) - most :] if len(shown) < most else []
    shown += [
        SplitStatus(split=name, step=step, rows=rows, watermark_us=_known(us), begun=True, ended=True)
        for name, (rows, us) in reversed(ended)
    ]
    return tuple(shown)


def note_rows(
    notes: TimeNotes,
    watermarks: SplitWatermarks,
    cursor: SplitCursor,
    frame: pl.DataFrame | pl.LazyFrame,
    rows: int,
    *,
    column: str,
    earliest_us: int | None,
    latest_us: int | None,
) -> None:
    """Note the event times of rows that a split gives out."""
    if notes.wants_sample and isinstance(frame, pl.DataFrame):
        times = frame.select(time_us(column)).to_series().drop_nulls().to_numpy()
        notes.sampled(some_times(times, watermarks.before(cursor, times)) if len(times) else [])
    notes.arrived(rows, earliest_us, latest_us)
    if latest_us is not None and (notes.furthest is None or latest_us > notes.furthest.us):
        before_us = earliest_us if cursor.latest_us is None else cursor.latest_us
        is_ahead_of_clock = latest_us > (cursor.given_at_us or MAX_TIME_US) + FAR_US
        if is_ahead_of_clock or (before_us is not None and latest_us > before_us + FAR_US):
            notes.furthest = _furthest(cursor, frame, column, latest_us, looks=is_ahead_of_clock)
    if latest_us is not None:
        cursor.latest_us = latest_us if cursor.latest_us is None else max(latest_us, cursor.latest_us)


def _furthest(
    cursor: SplitCursor, frame: pl.DataFrame | pl.LazyFrame, column: str, us: int, *, looks: bool
) -> FurthestRow:
    """Return the row of a time among others; its values only if they are there, or are worth being read for it."""
    known = FurthestRow(us=us, split=cursor.split.id, step=cursor.source_name, column=column)
    if not (looks or isinstance(frame, pl.DataFrame)):
        return known
    try:
        rows = frame.lazy().filter(time_us(column) == us).head(1).collect()
    except UNREADABLE:
        return known  # who reads its rows says so
    text = rows_as_text(rows.drop(ROW_WATERMARK, strict=False)).str.head(_SHOWN).to_list()
    return msgspec.structs.replace(known, row=text[0]) if text else known


def _known(us: int) -> int | None:
    return us if us > MIN_TIME_US else None
