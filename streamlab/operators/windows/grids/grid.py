"""Windows that do not depend on the data: which there are, which a time is in, and into which panes they cut time.

A *pane* is a stretch of time between two neighbouring window edges (starts or ends): all rows of a pane are in the same
windows, so state per pane serves every window. For windows that hop by `every` there are at most two panes per `every`,
whatever the period ("paired windows": Krishnamurthy, Wu, Franklin, *On-the-fly sharing for streamed aggregation*,
SIGMOD 2006), where the greatest common divisor of every and period could give arbitrarily many.

Both starts and ends grow from window to window. All times are Int64 microseconds since the epoch; bounds given and
returned as Python integers never overflow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import polars as pl

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, time_us
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows
from streamlab.operators.windows.columns import END, PANE, START

_MONDAY_US = 4 * 86_400_000_000
"""1970-01-05: where weeks are counted from."""
_MARGIN_US = 366 * 86_400_000_000
"""Nothing is asked of a calendar this near to the start of time."""


class Grid(ABC):
    """Windows on a fixed grid."""

    @property
    @abstractmethod
    def has_gaps(self) -> bool:
        """Whether a time can be in no window at all."""

    @property
    @abstractmethod
    def is_disjoint(self) -> bool:
        """Whether a time is in at most one window, so that every pane is a window."""

    @abstractmethod
    def pane(self, column: str) -> pl.Expr:
        """Return the expression for the start of the pane (Int64, µs) that the time in `column` is in.

        Null for a time that is in no window.
        """

    @abstractmethod
    def windows(self, panes: pl.Series) -> pl.DataFrame:
        """Return ``PANE, START, END``: a row for each given pane and each window that it is part of, by start.

        `panes` are starts of panes, each once.
        """

    @abstractmethod
    def ends(self, starts: pl.Series) -> pl.Series:
        """Return the end (µs) of each window, given its start; only when windows are disjoint."""

    @abstractmethod
    def last_end(self, us: int) -> int:
        """Return the latest end of a window that is not after `us`: panes before it are in a window that has ended."""

    @abstractmethod
    def first_open_start(self, us: int) -> int:
        """Return the earliest start of a window that ends after `us`: all windows of panes before it have ended."""

    @abstractmethod
    def next_end(self, us: int) -> int:
        """Return the earliest end of a window that is after `us`."""


class Bounds:
    """How far a watermark has closed the windows of a grid; remembers, since most watermarks close none.

    Parameters
    ----------
    grid
        The windows.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._known: list[tuple[int, int, tuple[int, int]]] = []

    def at(self, limit: int) -> tuple[int, int]:
        """Return ``last_end(limit)`` and ``first_open_start(limit)``, also for limits at the ends of time."""
        if limit <= MIN_TIME_US + _MARGIN_US:
            return MIN_TIME_US, MIN_TIME_US
        if limit >= MAX_TIME_US:
            return MAX_TIME_US, MAX_TIME_US
        for since, until, bounds in self._known:
            if since <= limit < until:
                return bounds
        bounds = _clamped(self._grid.last_end(limit)), _clamped(self._grid.first_open_start(limit))
        self._known = [*self._known[-2:], (limit, self._grid.next_end(limit), bounds)]
        return bounds


@dataclass(frozen=True)
class FixedGrid(Grid):
    """Windows whose edges are whole multiples of microseconds apart: integer arithmetic.

    Attributes
    ----------
    every : int
        Distance between neighbouring starts.
    period : int
        Length of a window; the longest one's when `step` is set.
    origin : int
        Where one of the windows starts.
    step : int | None
        For cumulative windows: how much later the next of the windows with the same start ends.
    """

    every: int
    period: int
    origin: int
    step: int | None = None

    @classmethod
    def of(cls, windows: HoppingWindows | CumulativeWindows) -> FixedGrid | None:
        """Return the grid, or None when a duration has no fixed length."""
        every, offset = windows.every.us, windows.offset.us
        length = windows.period.us if isinstance(windows, HoppingWindows) else windows.step.us
        if every is None or offset is None or length is None:
            return None
        origin = offset + (_MONDAY_US if "w" in windows.every.text else 0)
        if isinstance(windows, HoppingWindows):
            return cls(every, length, origin)
        return cls(every, every, origin, length)

    @property
    def has_gaps(self) -> bool:
        """When windows are shorter than their distance."""
        return self.period < self.every

    @property
    def is_disjoint(self) -> bool:
        """When windows are no longer than their distance."""
        return self.period <= self.every and self.step is None

    def pane(self, column: str) -> pl.Expr:
        """Return the start of the pane, by integer arithmetic."""
        return self.pane_of(time_us(column))

    def pane_of(self, time: pl.Expr) -> pl.Expr:
        """Return the start of the pane of a time in microseconds."""
        phase = (time - self.origin) % self.every if self.origin % self.every else time % self.every
        if self.step is not None:
            return time - phase % self.step
        start = time - phase
        if self.has_gaps:
            return pl.when(phase < self.period).then(start)
        second = self.period % self.every
        return pl.when(phase < second).then(start).otherwise(start + second) if second else start

    def windows(self, panes: pl.Series) -> pl.DataFrame:
        """Return the windows of each pane, by integer arithmetic."""
        last_start = pl.col(PANE) - (pl.col(PANE) - self.origin) % self.every
        if self.step is None:
            count = -(-self.period // self.every)
            start = last_start - pl.int_range(count - 1, -1, -1, dtype=pl.Int64).implode() * self.every
            both = (start.alias(START), (start + self.period).alias(END))
        else:
            count = -(-self.every // self.step)
            length = (pl.int_range(1, count + 1, dtype=pl.Int64) * self.step).clip(upper_bound=self.every).implode()
            both = (last_start.alias(START), (last_start + length).alias(END))
        frame = pl.DataFrame({PANE: panes}).with_columns(both)
        lists = [name for name in (START, END) if frame.schema[name] == pl.List(pl.Int64)]
        return frame.explode(lists).filter(pl.col(END) > pl.col(PANE))

    def ends(self, starts: pl.Series) -> pl.Series:
        """Return start plus period."""
        return starts + self.period

    def last_end(self, us: int) -> int:
        """Return the latest end not after `us`."""
        if self.step is None:
            return us - (us - self.origin - self.period) % self.every
        return us - (us - self.origin) % self.every % self.step

    def next_end(self, us: int) -> int:
        """Return the earliest end after `us`."""
        if self.step is None:
            return self.last_end(us) + self.every
        start = us - (us - self.origin) % self.every
        return min(self.last_end(us) + self.step, start + self.every)

    def first_open_start(self, us: int) -> int:
        """Return the earliest start of a window that ends after `us`."""
        after = us - self.period
        return after - (after - self.origin) % self.every + self.every


def _clamped(us: int) -> int:
    return max(MIN_TIME_US, min(MAX_TIME_US, us))
