"""Rows that say nothing usable about time are taken out before they can do harm.

- A null event time belongs to no window, and one too far from 1970 would overflow the arithmetic of windows.
- A row that lies behind rows before it by more than the delay brings the watermark along that stood before it, so that
  it is judged as if rows came one by one (see :mod:`streamlab.core.event_time.row_watermarks`).
- With `max_advance`, a row is refused that is further ahead than that of all rows of its split that came before it and
  were not refused: it would close every window. The first row of a split is none of these.

A lazy frame that has no such rows stays lazy: its statistics show it, or a look at its times alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.connectors.contracts.source import Read, Source
from streamlab.connectors.formats.base import UNREADABLE
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK, is_marked, marked
from streamlab.core.event_time.time import FARTHEST_TIME_US, is_usable, tick_us, time_bounds, time_us

_FIRST_LOOK_ROWS = 256


@dataclass(frozen=True)
class Vetted:
    """Rows fit to be given out; `letters` holds the others and what the reader itself refused."""

    frame: pl.DataFrame | pl.LazyFrame
    rows: int
    max_time_us: int | None
    letters: pl.DataFrame | None
    min_time_us: int | None = None


class Vetting:
    """Judges what the splits of one source read.

    Parameters
    ----------
    source
        Says which column is the event time, and `max_advance`.
    """

    def __init__(self, source: Source) -> None:
        self._step = source.name
        self._column = source.timing.event_time
        advance = source.timing.max_advance
        self._max_advance_us = advance.fixed_us("max_advance") if advance else None
        self._behind_us = _behind_us(source)
        self.needs_rows = source.timing.pace is not None
        """Whether lazy frames are collected in any case, because their rows wait for their times."""

    def vet(self, read: Read, split: str, reached_us: int | None) -> Vetted:
        """Judge rows of a split whose latest accepted event time so far is `reached_us`."""
        if self._column is None:
            return Vetted(read.frame, read.rows, None, read.dead_letters)
        is_lazy = isinstance(read.frame, pl.LazyFrame) and not self._must_look(read, reached_us)
        marks = self._marks(read, reached_us) if is_lazy else None
        if is_lazy and marks is None:
            return Vetted(read.frame, read.rows, read.max_time_us, read.dead_letters, read.min_time_us)
        frame = read.frame.collect() if isinstance(read.frame, pl.LazyFrame) else read.frame
        refused = [] if read.dead_letters is None else [read.dead_letters]
        if frame.get_column(self._column).null_count():
            unknown = frame.filter(pl.col(self._column).is_null())
            refused.append(row_letters(self._step, unknown, f"the event time {self._column!r} is null", split))
            frame = frame.filter(pl.col(self._column).is_not_null())
        earliest, latest, all_usable = time_bounds(frame, self._column)
        if not all_usable:
            usable = is_usable(self._column, frame.schema[self._column])
            reason = f"the event time {self._column!r} is too far from 1970"
            refused.append(row_letters(self._step, frame.filter(~usable), reason, split))
            frame = frame.filter(usable)
            earliest, latest, _ = time_bounds(frame, self._column)
        if self._max_advance_us is not None and latest is not None:
            times = frame.select(time_us(self._column)).to_series().to_numpy()
            near = near_enough(times, times[0] if reached_us is None else reached_us, self._max_advance_us)
            if not near.all():
                reason = f"the event time {self._column!r} is more than max_advance after all rows before it"
                refused.append(row_letters(self._step, frame.filter(~near), reason, split))
                frame = frame.filter(near)
                earliest, latest, _ = time_bounds(frame, self._column)
        if marks is not None and len(marks) == frame.height:
            frame = frame.with_columns(marks)
        elif self._may_have_behind(earliest, latest, reached_us):
            frame = marked(frame, self._column, reached_us, self._behind_us)
        return Vetted(frame, frame.height, latest, pl.concat(refused) if refused else None, earliest)

    def _must_look(self, read: Read, reached_us: int | None) -> bool:
        if self.needs_rows or read.max_time_us is None or read.max_time_us > FARTHEST_TIME_US:
            return True
        if self._max_advance_us is None:
            return False
        return reached_us is None or read.max_time_us > reached_us + self._max_advance_us

    def _may_have_behind(self, earliest_us: int | None, latest_us: int | None, reached_us: int | None) -> bool:
        """Return whether the bounds of some rows leave it open that one lies behind the watermark before it."""
        if not self._behind_us or latest_us is None:
            return False
        reached_us = latest_us if reached_us is None else max(reached_us, latest_us)
        return earliest_us is None or earliest_us <= reached_us - self._behind_us

    def _marks(self, read: Read, reached_us: int | None) -> pl.Series | None:
        """Return the watermarks of a lazy frame's rows, if one lies behind; None also of a frame that is unreadable."""
        if not self._may_have_behind(read.min_time_us, read.max_time_us, reached_us):
            return None
        try:
            times = read.frame.lazy().select(self._column or "").collect()
        except UNREADABLE:
            return None  # whoever reads its rows will say so
        rows = marked(times, self._column or "", reached_us, self._behind_us)
        return rows.get_column(ROW_WATERMARK) if is_marked(rows) else None


def near_enough(times: NDArray[np.int64], reached_us: int, advance_us: int) -> NDArray[np.bool_]:
    """Return which rows are at most so far ahead of all rows before them that are so, too.

    Parameters
    ----------
    times
        Event times in µs since 1970, in the order in which the rows come.
    reached_us
        The latest one before these.
    advance_us
        How far ahead a row may be.

    Examples
    --------
    >>> near_enough(np.array([1, 90, 7, 16, 70, 2, 26]), reached_us=0, advance_us=10).tolist()
    [True, False, True, True, False, True, True]
    """
    near = np.ones(len(times), dtype=np.bool_)
    advance_us = min(advance_us, 2 * FARTHEST_TIME_US)
    at, size = 0, _FIRST_LOOK_ROWS
    while at < len(times):
        # All of them are taken for near enough, up to the first one that is not. Then come some that are not, for the
        # next that is does not depend on them. Looks become longer, so that their number stays small.
        part = times[at : at + size]
        latest = np.maximum.accumulate(np.concatenate([[reached_us], part]))
        good = _first(part > latest[:-1] + advance_us)
        at, reached_us = at + good, int(latest[good])
        if good == len(part):
            size *= 2
            continue
        part = times[at : at + size]
        bad = _first(part <= reached_us + advance_us)
        near[at : at + bad] = False
        at, size = at + bad, _FIRST_LOOK_ROWS if bad < len(part) else 2 * size
    return near


def _first(true: NDArray[np.bool_]) -> int:
    """Return the place of the first true value; if there is none, how many values there are."""
    place = int(true.argmax()) if len(true) else 0
    return place if len(true) and true[place] else len(true)


def _behind_us(source: Source) -> int:
    """Return how far the watermark is behind the latest row; 0 when the source makes none, or nobody judges by it."""
    timing = source.timing
    if timing.watermark is None or timing.event_time is None or not timing.judges_rows:
        return 0
    return timing.watermark.fixed_us("watermark") + tick_us(source.schema[timing.event_time])
