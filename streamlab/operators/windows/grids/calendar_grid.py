"""Windows that follow the calendar: months, and days and weeks of a time zone with daylight saving.

Starts are those of :class:`CalendarStarts`, ends those of Polars' ``dt.offset_by``. Where daylight saving leaves
tumbling windows of some hours with a gap or an overlap, a window ends where the next one starts.

The calendar is asked once about a stretch of time: its windows are then arrays (:class:`WindowTable`), in which rows,
panes and watermarks are looked up, and which are kept as long as times lie in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows
from streamlab.operators.windows.columns import END, PANE, START
from streamlab.operators.windows.grids.calendar_starts import CalendarStarts
from streamlab.operators.windows.grids.grid import FixedGrid, Grid
from streamlab.operators.windows.window_table import WindowTable

_DAY_US = 86_400_000_000
_FURTHEST_US = 250_000 * 365 * _DAY_US
"""The calendar of Polars ends some 262,000 years from now, in both directions."""
_AHEAD = 256
"""How many windows behind the last that was asked about a table has at least."""
_FEW = 65_536
"""Distances of starts: within so many of them all windows are found, whether asked about or not."""
_MANY_ROWS = 1_000
"""For so many rows arithmetic is worth while where windows are as regular as in UTC: between changes of the clock."""
_MOST_KEPT = 4 * _FEW
"""A table with more windows is not kept."""
_TABLES = 4
"""How many tables are kept: rows, watermarks and late rows are at different times."""


@dataclass(frozen=True)
class CalendarGrid(Grid):
    """Windows of a time zone's calendar.

    Attributes
    ----------
    spec : HoppingWindows | CumulativeWindows
        Which windows.
    time_zone : str | None
        Whose calendar; None for the calendar of UTC.
    """

    spec: HoppingWindows | CumulativeWindows
    time_zone: str | None
    _tables: list[WindowTable] = field(init=False, repr=False, compare=False, default_factory=list)

    @cached_property
    def has_gaps(self) -> bool:
        """When a window can end before the next one starts."""
        return not self._reaches_on

    @cached_property
    def is_disjoint(self) -> bool:
        """When no window is longer than the distance to the next start."""
        return isinstance(self.spec, HoppingWindows) and (self._is_tumbling or self._compare(longer=False))

    def pane(self, column: str) -> pl.Expr:
        """Return the start of the pane, found over whole columns."""
        return pl.col(column).map_batches(self.panes_of, return_dtype=pl.Int64, is_elementwise=True)

    def panes_of(self, times: pl.Series) -> pl.Series:
        """Return the start of the pane (Int64, µs) of each time; null where there is none."""
        us = times.dt.epoch("us")
        is_known = us.is_not_null() if us.null_count() else None
        at = (us if is_known is None else us.drop_nulls()).to_numpy()
        if not len(at):
            return us
        table = self._table(at)
        regular = table.regular_window(int(at.min()), int(at.max())) if len(at) >= _MANY_ROWS else None
        if regular is not None:
            start, end = regular
            pane = FixedGrid(self._every_us, end - start, start).pane_of(pl.col(PANE))
            return us.to_frame(PANE).select(pane).to_series()
        panes, is_open = table.panes(at)
        found = pl.Series(us.name, panes)
        if not is_open.all():
            found = found.set(pl.Series(~is_open), None)
        return found if is_known is None else us.scatter(is_known.arg_true(), found)

    def windows(self, panes: pl.Series) -> pl.DataFrame:
        """Return the windows of each pane."""
        if not len(panes):
            return pl.DataFrame(schema={PANE: pl.Int64, START: pl.Int64, END: pl.Int64})
        us = panes.to_numpy()
        table = self._table(us)
        at, windows = table.windows(us)
        return pl.DataFrame({PANE: us[at], START: table.starts[windows], END: table.ends[windows]})

    def ends(self, starts: pl.Series) -> pl.Series:
        """Return the end of each window."""
        if not len(starts):
            return starts
        us = starts.to_numpy()
        table = self._table(us)
        return pl.Series(starts.name, table.ends[np.searchsorted(table.starts, us)])

    def last_end(self, us: int) -> int:
        """Return the latest end not after `us`."""
        table = self._table_at(us)
        return int(table.ends[table.first_open(_reachable(us)) - 1])

    def next_end(self, us: int) -> int:
        """Return the end of the first window that ends after `us`."""
        table = self._table_at(us)
        return int(table.ends[table.first_open(_reachable(us))])

    def first_open_start(self, us: int) -> int:
        """Return the earliest start of a window that ends after `us`."""
        table = self._table_at(us)
        return int(table.starts[table.first_open(_reachable(us))])

    @cached_property
    def _calendar(self) -> CalendarStarts:
        return CalendarStarts(self.spec.every, self.spec.offset, self.time_zone)

    @cached_property
    def _every_us(self) -> int:
        """How far apart starts are asked for: mostly one by one."""
        return self.spec.every.approximate_us(month_days=28)

    @cached_property
    def _length_us(self) -> int:
        """How long the longest window is, but for changes of the clock."""
        longest = self.spec.period if isinstance(self.spec, HoppingWindows) else self.spec.every
        return longest.approximate_us(month_days=31)

    @cached_property
    def _is_tumbling(self) -> bool:
        return isinstance(self.spec, HoppingWindows) and self.spec.period == self.spec.every

    @cached_property
    def _reaches_on(self) -> bool:
        """Whether every window reaches the next start at least."""
        return self._is_tumbling or isinstance(self.spec, CumulativeWindows) or self._compare(longer=True)

    def _compare(self, *, longer: bool) -> bool:
        """Return whether the period is never shorter (or never longer) than the distance of starts, in any month."""
        if not isinstance(self.spec, HoppingWindows):
            return False
        months = pl.datetime_range(pl.datetime(1999, 1, 1), pl.datetime(2001, 1, 1), "1mo", eager=True)
        ends, starts = months.dt.offset_by(self.spec.period.text), months.dt.offset_by(self.spec.every.text)
        return bool((ends >= starts if longer else ends <= starts).all())

    def _table_at(self, us: int) -> WindowTable:
        return self._table(np.array([_reachable(us)]))

    def _table(self, us: np.ndarray) -> WindowTable:
        """Return a table with all windows that are open at some of the times, and with their neighbours."""
        low, high = int(us.min()), int(us.max())
        known = next((table for table in self._tables if table.covers(low, high)), None)
        if known is not None:
            return known
        every, length = self._every_us, self._length_us
        if (high - low) // every > max(_FEW, 4 * len(us)):
            times = np.unique(us)
            cuts = np.flatnonzero(np.diff(times) > length + _AHEAD * every)
            return self._table_of(times[np.r_[0, cuts + 1]], times[np.r_[cuts, -1]])
        ahead = max(_AHEAD * every, length)
        table = self._table_of(np.array([low]), np.array([max(high, min(high + ahead, _FURTHEST_US))]))
        if len(table.starts) <= _MOST_KEPT:
            self._tables[:] = [table, *self._tables[: _TABLES - 1]]
        return table

    def _table_of(self, lows: np.ndarray, highs: np.ndarray) -> WindowTable:
        """Return all windows that are open somewhere in some stretches of time, and the ones before and after."""
        back = np.full(len(lows), self._length_us + 2 * self._every_us)
        while True:
            since = np.maximum(lows - back, -_FURTHEST_US)
            table = WindowTable(*self._windows(*self._starts(*_joined(since, highs))), self._every_us)
            first = table.starts[np.searchsorted(table.starts, since, side="right") - 1]
            lacks = (table.first_open(lows) <= np.searchsorted(table.starts, first)) & (since > -_FURTHEST_US)
            if not lacks.any():
                return table
            back[lacks] *= 2

    def _starts(self, lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return all starts from that of each `low` to the one behind each `high`, and which start follows each."""
        every = self._every_us
        counts = (highs - lows) // every + 2
        stretch = np.repeat(np.arange(len(lows)), counts)
        within = np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts, counts)
        found = _us(self._calendar.at(self._instants(lows[stretch] + within * every)))
        is_new = np.r_[True, (np.diff(found) != 0) | (np.diff(stretch) != 0)]
        found, stretch = found[is_new], stretch[is_new]
        same = np.diff(stretch) == 0
        # Where two neighbours are not as far apart as usual, there may be others between them.
        odd = np.flatnonzero(same & (np.diff(found) != every))
        at, until, between = found[odd], found[odd + 1], [found]
        while len(at):
            at = self._after(at)
            lies_before = at < until
            at, until = at[lies_before], until[lies_before]
            between.append(at)
        last = self._after(found[np.r_[~same, True]])
        starts = np.unique(np.concatenate([*between, last]))
        following = np.r_[starts[1:], last[-1:]]
        following[np.searchsorted(starts, last)] = self._after(last)
        return starts, following

    def _windows(self, starts: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return start and end of each window with one of the starts."""
        if isinstance(self.spec, CumulativeWindows):
            return self._steps(self.spec.step, starts, following)
        if self._is_tumbling:
            return starts, following
        ends = _us(self._calendar.moved(self._instants(starts), self.spec.period.text))
        return starts, np.maximum(ends, following) if self._reaches_on else ends

    def _steps(self, step: Duration, starts: np.ndarray, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return start and end of cumulative windows: ends are whole steps behind the start, and the next start."""
        shortest = step.approximate_us(month_days=28)
        clock_moves = 0 if shortest < _DAY_US else 2 * _DAY_US
        counts = (following - starts + clock_moves) // shortest + 1
        window = np.repeat(np.arange(len(starts)), counts)
        number = np.arange(len(window)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        times = [step.times(k) for k in range(1, int(counts.max()) + 1)]
        by = pl.Series(times, dtype=pl.String).gather(number - 1)
        ends = _us(self._calendar.moved(self._instants(starts[window]), by))
        ends = np.minimum(ends, following[window])
        is_new = np.r_[True, (np.diff(window) != 0) | (np.diff(ends) != 0)]
        return starts[window][is_new], ends[is_new]

    def _after(self, starts: np.ndarray) -> np.ndarray:
        return _us(self._calendar.after(self._instants(starts)))

    def _instants(self, us: np.ndarray) -> pl.Series:
        return self._calendar.instants(pl.Series(us))


def _joined(lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return stretches of time, in order, with those made one that overlap."""
    reach = np.maximum.accumulate(highs)
    is_apart = lows[1:] > reach[:-1]
    return lows[np.r_[True, is_apart]], reach[np.r_[is_apart, True]]


def _us(times: pl.Series) -> np.ndarray:
    return times.dt.epoch("us").to_numpy()


def _reachable(us: int) -> int:
    return max(-_FURTHEST_US, min(_FURTHEST_US, us))
