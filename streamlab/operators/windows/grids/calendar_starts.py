"""Where the windows of a calendar start: months, and days and weeks of a time zone with daylight saving.

Starts are those of Polars' ``dt.truncate``, shifted by the offset. Methods take and give whole columns of instants,
each of which is answered by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from streamlab.core.event_time.time import Duration

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_LONGER_THAN_ANY_OFFSET = "27h"
_TIME, _BY = "time", "by"


@dataclass(frozen=True)
class CalendarStarts:
    """The starts of windows in the calendar of a time zone.

    Attributes
    ----------
    every : Duration
        Distance between neighbouring starts, as ``dt.truncate`` takes it.
    offset : Duration
        How far all of them are moved: on the wall clock where windows are whole days, in real time else.
    time_zone : str | None
        Whose calendar; None for the calendar of UTC.
    """

    every: Duration
    offset: Duration
    time_zone: str | None

    def instants(self, us: pl.Series) -> pl.Series:
        """Return microseconds since the epoch as a Datetime column in the time zone."""
        times = us.cast(pl.Datetime("us"))
        if self.time_zone is None:
            return times
        return times.dt.replace_time_zone("UTC").dt.convert_time_zone(self.time_zone)

    def at(self, times: pl.Series) -> pl.Series:
        """Return the latest start that is not after each time."""
        offset = self.offset
        if offset.us == 0 and not self._repeats_starts:
            return self._truncated(times)
        # A guess, since the calendar moves back otherwise than on; without it a week is a walk of thousands of steps.
        back = offset.text[1:] if offset.text.startswith("-") else f"-{offset.text}"
        bases = self._truncated(self.moved(times, back))
        while (late := self._shifted(bases) > times).any():
            bases = bases.zip_with(~late, self._truncated(_tick_before(bases)))
        while (early := self._shifted(following := self._following(bases)) <= times).any():
            bases = following.zip_with(early, bases)
        return self._shifted(bases)

    def after(self, starts: pl.Series) -> pl.Series:
        """Return the start that follows each start."""
        times = self.moved(starts, self.every.text)
        while (stuck := (found := self.at(times)) <= starts).any():
            times = self.moved(times, self.every.text).zip_with(stuck, times)
        while (skipped := (before := self.at(_tick_before(found))) > starts).any():
            found = before.zip_with(skipped, found)
        return found

    def moved(self, times: pl.Series, by: str | pl.Series) -> pl.Series:
        """Return ``dt.offset_by`` of each time, by one duration or by one for each.

        Where Polars finds no such time of day (Apia has no 30 December 2011), it is as much later as the clock was put
        on, as in Java's calendar, and so in Flink's.
        """
        rows = pl.DataFrame([times.alias(_TIME), *([] if isinstance(by, str) else [by.alias(_BY)])])
        amount = pl.lit(by) if isinstance(by, str) else pl.col(_BY)
        return self._asked(rows, lambda time: time.dt.offset_by(amount))

    def _truncated(self, times: pl.Series) -> pl.Series:
        """Return ``dt.truncate``, but never a later time, and of two midnights of one day (Havana) the first."""
        every = self.every
        bases = self._floor(times)
        if self.time_zone is None:
            return bases
        if every.us is None or every.us >= _DAY_US:
            return bases.dt.replace_time_zone(None).dt.replace_time_zone(self.time_zone, ambiguous="earliest")
        if (later := bases > times).any():
            bases = self._floor(self.moved(times, f"-{every.text}")).zip_with(later, bases)
        return bases

    def _floor(self, times: pl.Series) -> pl.Series:
        return self._asked(times.alias(_TIME).to_frame(), lambda time: time.dt.truncate(self.every.text))

    def _asked(self, rows: pl.DataFrame, question: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
        """Return Polars' answer for each row; where it refuses one, that of the wall clock, put on."""
        try:
            return rows.select(question(pl.col(_TIME))).to_series()
        except pl.exceptions.ComputeError:
            if self.time_zone is None:
                raise
        if rows.height == 1:
            return self._put_on(rows.select(question(pl.col(_TIME).dt.replace_time_zone(None))).to_series())
        half = rows.height // 2
        return pl.concat([self._asked(rows[:half], question), self._asked(rows[half:], question)])

    def _put_on(self, wall: pl.Series) -> pl.Series:
        """Return the instants of wall times that the clock skipped, by the clock as it went before."""
        utc = wall.dt.replace_time_zone("UTC")
        before = utc.dt.offset_by(f"-{_LONGER_THAN_ANY_OFFSET}").dt.convert_time_zone(str(self.time_zone))
        instants = utc - before.dt.base_utc_offset() - before.dt.dst_offset()
        return instants.cast(utc.dtype).dt.convert_time_zone(str(self.time_zone))

    def _following(self, bases: pl.Series) -> pl.Series:
        """Return the boundary of ``truncate`` after each boundary."""
        times = self.moved(bases, self.every.text)
        while (stuck := (found := self._truncated(times)) <= bases).any():
            times = self.moved(times, self.every.text).zip_with(stuck, times)
        return found

    @property
    def _repeats_starts(self) -> bool:
        """Whether ``truncate`` can go back behind an earlier start in an hour that the clock shows twice."""
        every = self.every.us or _DAY_US
        return self.time_zone is not None and every < _DAY_US and _HOUR_US % every != 0

    def _shifted(self, bases: pl.Series) -> pl.Series:
        """Return starts moved by the offset: on the wall clock where windows are whole days, in real time else."""
        offset = self.offset.text
        moved = self.moved(bases, offset)
        if self.time_zone is None or (self.every.us or _DAY_US) < _DAY_US:
            return moved
        wall = bases.dt.replace_time_zone(None).dt.offset_by(offset)
        wall = wall.dt.replace_time_zone(self.time_zone, ambiguous="earliest", non_existent="null")
        return wall.zip_with(wall.is_not_null(), moved)


def _tick_before(times: pl.Series) -> pl.Series:
    return times.dt.offset_by("-1us")
