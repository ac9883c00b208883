"""Which windows and panes a time is in, and which sessions intervals merge into: pure functions over frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.time import time_us
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows, Windows
from streamlab.operators.windows.columns import END, PANE, START
from streamlab.operators.windows.grids.calendar_grid import CalendarGrid
from streamlab.operators.windows.grids.grid import FixedGrid, Grid


def grid_of(windows: HoppingWindows | CumulativeWindows, dtype: pl.DataType) -> Grid:
    """Return the grid of windows over a time column of `dtype`: integer arithmetic where the calendar allows it."""
    return _grid_in(windows, dtype.time_zone if isinstance(dtype, pl.Datetime) else None)


@lru_cache(maxsize=64)
def _grid_in(windows: HoppingWindows | CumulativeWindows, time_zone: str | None) -> Grid:
    # Kept, since a calendar's grid remembers the windows that it has found.
    fixed = FixedGrid.of(windows) if time_zone in {None, "UTC"} else None
    return fixed or CalendarGrid(windows, time_zone)


def windows_of(frame: pl.DataFrame, index_column: str, windows: Windows) -> pl.DataFrame:
    """Return a row for each row of `frame` and each window that it is in.

    Parameters
    ----------
    frame
        Rows; a row whose time is null is in no window.
    index_column
        A Datetime or Date column.
    windows
        A session gives the window that a row opens alone: from its time to `gap` later.

    Returns
    -------
    pl.DataFrame
        The columns of `frame`, then `START` and `END`: Int64 microseconds since the epoch, the end exclusive.
        Order of the rows, then of the starts and ends.

    Examples
    --------
    >>> from datetime import datetime
    >>> from streamlab.core.event_time.time import Duration
    >>> rows = pl.DataFrame({"at": [datetime(1970, 1, 1, 0, 0, 5)]})
    >>> hopping = HoppingWindows(*map(Duration.parse, ("2s", "4s", "0s")))
    >>> windows_of(rows, "at", hopping).select(START, END).rows()
    [(2000000, 6000000), (4000000, 8000000)]
    """
    if isinstance(windows, SessionWindows):
        start = time_us(index_column)
        return frame.with_columns(start.alias(START), (start + gap_us(windows)).alias(END)).drop_nulls(START)
    grid = grid_of(windows, frame.schema[index_column])
    placed = frame.with_columns(grid.pane(index_column).alias(PANE))
    panes = placed[PANE].drop_nulls().unique()
    return placed.join(grid.windows(panes).sort(PANE, START, END), on=PANE, maintain_order="left_right").drop(PANE)


def panes_of(frame: pl.DataFrame, index_column: str, windows: HoppingWindows | CumulativeWindows) -> pl.DataFrame:
    """Return `frame` with `PANE`: the start (Int64, µs) of the pane that each row is in (Flink: slice).

    A pane is what two neighbouring window edges enclose; null when a row is in no window.
    """
    return frame.with_columns(grid_of(windows, frame.schema[index_column]).pane(index_column).alias(PANE))


def merge_sessions(intervals: pl.DataFrame, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Merge intervals that overlap or touch (Flink: ``TimeWindow.mergeWindows``).

    Parameters
    ----------
    intervals
        Columns `keys`, `START` and `END` (Int64), and any others; the end is exclusive.
    keys
        Only intervals with equal keys merge; null is a key like any other.

    Returns
    -------
    pl.DataFrame
        The same rows in the same order, with `START` and `END` widened to the merged interval.

    Examples
    --------
    >>> intervals = pl.DataFrame({START: [0, 1, 4], END: [1, 2, 5]})
    >>> merge_sessions(intervals).rows()
    [(0, 2), (0, 2), (4, 5)]
    """
    if not intervals.height:
        return intervals
    at, base, reach, opens = map(own, ("at", "base", "reach", "opens"))
    ordered = intervals.lazy().select(*keys, START, END, pl.int_range(pl.len()).alias(at)).sort(START)
    changed = pl.any_horizontal(False, *(pl.col(key).ne_missing(pl.col(key).shift(1)) for key in keys))
    # Each key gets a stretch of numbers of its own, so that one running maximum does for all keys.
    start, end = pl.col(START).cast(pl.Int128), pl.col(END).cast(pl.Int128)
    merged = (
        (ordered.sort(*keys, maintain_order=True) if keys else ordered)
        .with_columns((changed.cum_sum() * (end.max() - start.min() + 1)).alias(base))
        .with_columns((pl.col(base) + end).cum_max().alias(reach))
        .with_columns((pl.col(base) + start > pl.col(reach).shift(1)).fill_null(value=True).alias(opens))
        .with_columns(
            pl.when(opens).then(START).forward_fill().alias(START),
            pl.when(pl.col(opens).shift(-1, fill_value=True))
            .then((pl.col(reach) - pl.col(base)).cast(pl.Int64))
            .backward_fill()
            .alias(END),
        )
        .sort(at)
        .select(START, END)
        .collect()
    )
    return intervals.with_columns(merged[START], merged[END])


def gap_us(windows: SessionWindows) -> int:
    """Return the gap of sessions in microseconds.

    Raises
    ------
    PlanError
        If it has no fixed length or is not longer than nothing.
    """
    gap = windows.gap.fixed_us("gap")
    if gap <= 0:
        raise PlanError(explained("session windows", needed="a gap longer than 0", got=repr(windows.gap.text)))
    return gap
