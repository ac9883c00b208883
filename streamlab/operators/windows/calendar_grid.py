"""Windows that follow the calendar: months, and days and weeks of a time zone with daylight saving.

Starts are those of Polars' ``dt.truncate`` (shifted by the offset), ends those of ``dt.offset_by``. Where daylight
saving leaves tumbling windows of some hours with a gap or an overlap, a window ends where the next one starts.

Everything here works on the few distinct starts of a batch; only ``truncate`` itself runs for every row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from streamlab.core.time import Duration
from streamlab.core.windows import CumulativeWindows, HoppingWindows
from streamlab.operators.windows.columns import END, PANE, START
from streamlab.operators.windows.grid import Grid

_QUARTER_US = 900_000_000
_HOUR_US = 4 * _QUARTER_US
_DAY_US = 24 * _HOUR_US
_FURTHEST_US = 250_000 * 365 * _DAY_US
"""The calendar of Polars ends some 262,000 years from now, in both directions."""
_ROWS_WORTH_A_STRETCH = 4
"""How many rows a stretch of time must hold on average for asking about stretches to pay."""


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

    @property
    def has_gaps(self) -> bool:
        """When a window can end before the next one starts."""
        return not self._reaches_on

    @property
    def is_disjoint(self) -> bool:
        """When no window is longer than the distance to the next start."""
        return isinstance(self.spec, HoppingWindows) and (self._is_tumbling or self._compare(longer=False))

    def pane(self, column: str) -> pl.Expr:
        """Return the start of the pane, found over whole columns."""
        return pl.col(column).map_batches(self.panes_of, return_dtype=pl.Int64, is_elementwise=True)

    def panes_of(self, times: pl.Series) -> pl.Series:
        """Return the start of the pane (Int64, µs) of each time; null where there is none.

        Panes never go back, so a stretch of time whose first and last instants are in one pane lies in it whole: asking
        the calendar about a few stretches is some ten times faster than about every row.
        """
        us = times.dt.epoch("us").alias("us")
        stretches = (us - us % self._stretch_us).unique()
        if stretches.len() * _ROWS_WORTH_A_STRETCH > us.len():
            return self._panes(us)
        first, last = self._panes(stretches), self._panes(stretches + (self._stretch_us - 1))
        known = pl.DataFrame({"stretch": stretches, "first": first, "last": last}).filter(
            pl.col("first") == pl.col("last")
        )
        rows = us.to_frame().with_columns((us - us % self._stretch_us).alias("stretch"))
        panes = rows.join(known, on="stretch", how="left", maintain_order="left")["first"]
        open_ = panes.is_null().arg_true()
        return panes.scatter(open_, self._panes(us.gather(open_))) if open_.len() else panes

    def _panes(self, us: pl.Series) -> pl.Series:
        instants = self._instants(us)
        starts = self._start_of(instants)
        if self._is_tumbling:
            return _us(starts)
        edges = self._edges(starts.drop_nulls().unique()).unique().sort()
        if not edges.len():
            return _us(instants)
        if self.has_gaps:
            ends = self._ends(self._start_of(self._instants(edges)))
            panes = edges.set(ends <= edges, None)
        else:
            panes = edges
        return panes.gather(edges.search_sorted(us, side="right") - 1)

    def windows(self, panes: pl.Series) -> pl.DataFrame:
        """Return the windows of each pane, walking back from the last that starts before it."""
        found = [pl.DataFrame(schema={PANE: pl.Int64, START: pl.Int64, END: pl.Int64})]
        starts = self._start_of(self._instants(panes))
        if isinstance(self.spec, CumulativeWindows):
            tables = [
                pl.DataFrame({START: start, END: self._step_ends(start)}, schema_overrides={START: pl.Int64})
                for start in _us(starts).unique().sort()
            ]
            if not tables:
                return found[0]
            frame = pl.DataFrame({PANE: panes, START: _us(starts)})
            return frame.join(pl.concat(tables), on=START, maintain_order="left_right").filter(
                pl.col(END) > pl.col(PANE)
            )
        while len(panes):
            frame = pl.DataFrame({PANE: panes, START: _us(starts), END: self._ends(starts)})
            open_ = frame[END] > frame[PANE]
            found.append(frame.filter(open_))
            if self.is_disjoint:
                break
            panes, starts = panes.filter(open_), self._before(starts.filter(open_))
        return pl.concat(found).sort(PANE, START)

    def ends(self, starts: pl.Series) -> pl.Series:
        """Return the end of each window."""
        return self._ends(self._instants(starts))

    def last_end(self, us: int) -> int:
        """Return the latest end not after `us`, walking back from there."""
        start = self._start_of(self._instants(pl.Series([_reachable(us)])))
        if isinstance(self.spec, CumulativeWindows):
            return max([int(_us(start)[0]), *(e for e in self._step_ends(int(_us(start)[0])) if e <= us)])
        while (end := int(self._ends(start)[0])) > us:
            start = self._before(start)
        return end

    def next_end(self, us: int) -> int:
        """Return the earliest end after `us`."""
        start = self.first_open_start(us)
        if isinstance(self.spec, CumulativeWindows):
            return min(end for end in self._step_ends(start) if end > us)
        return int(self._ends(self._instants(pl.Series([start])))[0])

    def first_open_start(self, us: int) -> int:
        """Return the earliest start of a window that ends after `us`, walking back from there."""
        start = self._start_of(self._instants(pl.Series([_reachable(us)])))
        if isinstance(self.spec, CumulativeWindows):
            return int(_us(start)[0])
        found = self._after(start)
        while int(self._ends(start)[0]) > us:
            found, start = start, self._before(start)
        return int(_us(found)[0])

    @property
    def _stretch_us(self) -> int:
        """A length that mostly fits between edges, which lie on quarters of an hour or finer multiples of `every`."""
        return min(self.spec.every.us or _QUARTER_US, _QUARTER_US)

    @property
    def _is_tumbling(self) -> bool:
        return isinstance(self.spec, HoppingWindows) and self.spec.period == self.spec.every

    @property
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

    def _instants(self, us: pl.Series) -> pl.Series:
        times = us.cast(pl.Datetime("us"))
        if self.time_zone is None:
            return times
        return times.dt.replace_time_zone("UTC").dt.convert_time_zone(self.time_zone)

    def _start_of(self, times: pl.Series) -> pl.Series:
        """Return the latest start of a window that is not after each time."""
        offset = self.spec.offset
        if offset.us == 0 and not self._repeats_starts:
            return self._truncated(times)
        # A guess, since the calendar moves back otherwise than on; without it a week is a walk of thousands of steps.
        back = offset.text[1:] if offset.text.startswith("-") else f"-{offset.text}"
        bases = self._truncated(times.dt.offset_by(back))
        while (late := self._shifted(bases) > times).any():
            bases = bases.zip_with(~late, self._truncated(_tick_before(bases)))
        while (early := self._shifted(following := self._following(bases)) <= times).any():
            bases = following.zip_with(early, bases)
        return self._shifted(bases)

    def _truncated(self, times: pl.Series) -> pl.Series:
        """Return ``dt.truncate``, but never a later time, and of two midnights of one day (Havana) the first."""
        every = self.spec.every
        bases = times.dt.truncate(every.text)
        if self.time_zone is None:
            return bases
        if every.us is None or every.us >= _DAY_US:
            return bases.dt.replace_time_zone(None).dt.replace_time_zone(self.time_zone, ambiguous="earliest")
        if (later := bases > times).any():
            bases = times.dt.offset_by(f"-{every.text}").dt.truncate(every.text).zip_with(later, bases)
        return bases

    def _following(self, bases: pl.Series) -> pl.Series:
        """Return the boundary of ``truncate`` after each boundary."""
        every = self.spec.every.text
        times = bases.dt.offset_by(every)
        while (stuck := (found := self._truncated(times)) <= bases).any():
            times = times.dt.offset_by(every).zip_with(stuck, times)
        return found

    @property
    def _repeats_starts(self) -> bool:
        """Whether ``truncate`` can go back behind an earlier start in an hour that the clock shows twice."""
        every = self.spec.every.us or _DAY_US
        return self.time_zone is not None and every < _DAY_US and _HOUR_US % every != 0

    def _shifted(self, bases: pl.Series) -> pl.Series:
        """Return starts moved by the offset: on the wall clock where windows are whole days, in real time else."""
        offset = self.spec.offset.text
        moved = bases.dt.offset_by(offset)
        if self.time_zone is None or (self.spec.every.us or _DAY_US) < _DAY_US:
            return moved
        wall = bases.dt.replace_time_zone(None).dt.offset_by(offset)
        wall = wall.dt.replace_time_zone(self.time_zone, ambiguous="earliest", non_existent="null")
        return wall.zip_with(wall.is_not_null(), moved)

    def _before(self, starts: pl.Series) -> pl.Series:
        return self._start_of(_tick_before(starts))

    def _after(self, starts: pl.Series) -> pl.Series:
        """Return the start that follows each start."""
        every = self.spec.every.text
        times = starts.dt.offset_by(every)
        while (stuck := (found := self._start_of(times)) <= starts).any():
            times = times.dt.offset_by(every).zip_with(stuck, times)
        while (skipped := (before := self._before(found)) > starts).any():
            found = before.zip_with(skipped, found)
        return found

    def _ends(self, starts: pl.Series) -> pl.Series:
        if not isinstance(self.spec, HoppingWindows) or self._is_tumbling:
            return _us(self._after(starts))
        ends = _us(starts.dt.offset_by(self.spec.period.text))
        if not self._reaches_on:
            return ends
        following = _us(self._after(starts))
        return ends.zip_with(ends >= following, following)

    def _step_ends(self, start: int) -> list[int]:
        """Return the ends of the cumulative windows with this start, growing."""
        if not isinstance(self.spec, CumulativeWindows):
            return []
        instant = self._instants(pl.Series([start]))
        last = int(self._ends(instant)[0])
        ends: list[int] = []
        while (end := int(_us(instant.dt.offset_by(_times(self.spec.step, len(ends) + 1)))[0])) < last:
            ends.append(end)
        return [*ends, last]

    def _edges(self, starts: pl.Series) -> pl.Series:
        """Return the edges of panes from each start up to the next one, and perhaps some later ones (Int64, µs)."""
        firsts = _us(starts)
        if isinstance(self.spec, CumulativeWindows):
            return pl.concat([firsts, *(pl.Series(self._step_ends(first)[:-1], dtype=pl.Int64) for first in firsts)])
        found = [firsts]
        while len(starts):
            ends = self._ends(starts)
            ahead = ends > firsts
            found.append(ends.filter(ahead))
            starts, firsts = self._before(starts.filter(ahead)), firsts.filter(ahead)
        return pl.concat(found)


def _times(duration: Duration, count: int) -> str:
    return re.sub(r"\d+", lambda number: str(int(number[0]) * count), duration.text)


def _tick_before(times: pl.Series) -> pl.Series:
    return times.dt.offset_by("-1us")


def _us(times: pl.Series) -> pl.Series:
    return times.dt.epoch("us")


def _reachable(us: int) -> int:
    return max(-_FURTHEST_US, min(_FURTHEST_US, us))
