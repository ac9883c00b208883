"""What is shown of a source's splits and of the event times of their rows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from streamlab.connectors.lane import Lane
from streamlab.connectors.source import Source
from streamlab.connectors.split_watermarks import SplitWatermarks
from streamlab.core.time import MIN_TIME_US, time_us
from streamlab.core.watermarks import PartitionWatermarks
from streamlab.observe.status import ClockStatus, SplitStatus
from streamlab.observe.time_notes import TimeNotes, some_times


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
    lanes: Mapping[str, Lane],
    finished: Mapping[str, tuple[int, int]],
    watermarks: PartitionWatermarks,
    most: int,
) -> tuple[SplitStatus, ...]:
    """Return what is known of the splits of one subtask, those that hold the watermark back first.

    Parameters
    ----------
    step
        Name of the source.
    lanes
        Splits that are being read or will be.
    finished
        Rows and watermark of those that have ended, oldest first.
    watermarks
        Where the splits being read are in event time.
    most
        How many are returned; of those that have ended the newest.
    """
    # One more, since all that have ended may count as one there.
    order = [name for name in watermarks.lowest(most + 1) if name in lanes][:most]
    shown = [
        SplitStatus(
            split=name,
            step=step,
            rows=lanes[name].rows_given,
            watermark_us=_known(watermarks.watermark_of(name)),
            latest_us=lanes[name].latest_us,
            last_row_us=lanes[name].given_at_us,
            begun=lanes[name].begun,
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
    lane: Lane,
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
        notes.sampled(some_times(times, watermarks.before(lane, times)) if len(times) else [])
    notes.arrived(rows, earliest_us, latest_us)
    if latest_us is not None:
        lane.latest_us = latest_us if lane.latest_us is None else max(latest_us, lane.latest_us)


def _known(us: int) -> int | None:
    return us if us > MIN_TIME_US else None
