"""Windows in time zones: what the grid finds in its tables, beside a walk over the calendar, one start at a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_model import cumulative, hopping

from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows
from streamlab.operators.windows import windows_of
from streamlab.operators.windows.grids.calendar_grid import CalendarGrid
from streamlab.operators.windows.grids.calendar_starts import CalendarStarts

Spec = HoppingWindows | CumulativeWindows

CHANGES = [
    ("America/New_York", "2024-03-10"),
    ("America/New_York", "2024-11-03"),
    ("Australia/Lord_Howe", "2024-04-06"),
    ("Australia/Lord_Howe", "2024-10-05"),
    ("America/Santiago", "2024-04-07"),
    ("America/Santiago", "2024-09-08"),
    ("America/Havana", "2024-11-03"),
    ("Pacific/Apia", "2011-12-30"),
    ("Africa/Casablanca", "2024-03-10"),
    ("Africa/Casablanca", "2024-04-14"),
    ("Asia/Kathmandu", "1986-01-01"),
    ("Europe/London", "1968-10-27"),
    (None, "1969-12-31"),
]
"""Zones and days on which their clocks change: by half an hour, at midnight, by a whole day, back in winter."""

SPECS: list[Spec] = [
    hopping("1h"),
    hopping("7m", "20m"),
    hopping("90m"),
    hopping("2h", "1h", "15m"),
    hopping("30m", "4h"),
    hopping("5h", "7h"),
    hopping("1h", "1d"),
    hopping("1d"),
    hopping("1d", "1h"),
    hopping("1d", "3d", "-90m"),
    hopping("1d", offset="6h"),
    hopping("1w", "10d"),
    hopping("1mo"),
    hopping("1mo", "30d"),
    hopping("1d", "1mo"),
    cumulative("1h", "1d"),
    cumulative("7m", "1h"),
    cumulative("6h", "1d", "3h"),
    cumulative("1d", "1mo"),
]


def instants(us: list[int], time_zone: str | None) -> pl.Series:
    times = pl.Series("t", us, dtype=pl.Int64).cast(pl.Datetime("us"))
    return times.dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone) if time_zone else times


class Walk:
    """The windows around a time, one start after the other."""

    def __init__(self, spec: Spec, time_zone: str | None) -> None:
        self.spec = spec
        self.calendar = CalendarStarts(spec.every, spec.offset, time_zone)

    def start(self, us: int) -> int:
        return self._asked(self.calendar.at, us)

    def following(self, start: int) -> int:
        return self._asked(self.calendar.after, start)

    def ends(self, start: int) -> list[int]:
        following = self.following(start)
        if isinstance(self.spec, CumulativeWindows):
            found: list[int] = []
            while (end := self._moved(start, self.spec.step.times(len(found) + 1))) < following:
                found.append(end)
            return [*dict.fromkeys(found), following]
        if self.spec.period == self.spec.every:
            return [following]
        end = self._moved(start, self.spec.period.text)
        leaves_gaps = self.spec.period.approximate_us(month_days=31) < self.spec.every.approximate_us(month_days=31)
        return [end if leaves_gaps else max(end, following)]

    def windows(self, us: int) -> list[tuple[int, int]]:
        """Every window that holds a time."""
        found: list[tuple[int, int]] = []
        start = self.start(us)
        while some := [(start, end) for end in self.ends(start) if end > us]:
            found = some + found
            start = self.start(start - 1)
        return found

    def last_end(self, us: int) -> int:
        start = self.start(us)
        while not (ended := [end for end in self.ends(start) if end <= us]):
            start = self.start(start - 1)
        return ended[-1]

    def first_open(self, us: int) -> tuple[int, int]:
        if found := self.windows(us):
            return found[0]
        start = self.following(self.start(us))
        return start, self.ends(start)[0]

    def _moved(self, us: int, by: str) -> int:
        return self._asked(lambda times: self.calendar.moved(times, by), us)

    def _asked(self, question: object, us: int) -> int:
        assert callable(question)
        return int(question(self.calendar.instants(pl.Series([us]))).dt.epoch("us")[0])


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_windows_around_a_change_of_the_clock_are_those_of_a_walk(data: st.DataObject) -> None:
    time_zone, day = data.draw(st.sampled_from(CHANGES))
    spec = data.draw(st.sampled_from(SPECS))
    change = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    quarters = st.integers(-200, 200).map(lambda count: (change + 900 * count) * 1_000_000)
    times = data.draw(st.lists(st.tuples(quarters, st.integers(-1, 1)).map(sum), min_size=1, max_size=3))
    grid, walk = CalendarGrid(spec, time_zone), Walk(spec, time_zone)
    panes = grid.panes_of(instants(times, time_zone))
    found = grid.windows(panes.drop_nulls().unique())
    for us, pane in zip(times, panes, strict=True):
        wanted = walk.windows(us)
        if pane is None:
            assert wanted == []
        else:
            assert found.filter(pl.col("__sl_pane") == pane).select("__sl_start", "__sl_end").rows() == wanted
            assert pane == max(edge for edge in [wanted[-1][0], walk.last_end(us)] if edge <= us)
        assert grid.last_end(us) == walk.last_end(us)
        assert (grid.first_open_start(us), grid.next_end(us)) == walk.first_open(us)


@pytest.mark.parametrize(
    "time_zone", ["America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Casablanca"]
)
def test_days_are_those_of_the_wall_clock(time_zone: str) -> None:
    """Beside Python's own calendar, for each day of a year, in hops of three days."""
    zone = ZoneInfo(time_zone)

    def midnight(day: date) -> int:
        # The first instant of a day; where its midnight was skipped, that is when the clock was put on.
        at = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        while at.astimezone(zone).date() < day:
            at += timedelta(minutes=30)
        while (at - timedelta(minutes=30)).astimezone(zone).date() >= day:
            at -= timedelta(minutes=30)
        return int(at.timestamp()) * 1_000_000

    days = [date(2024, 1, 1) + timedelta(n) for n in range(366)]
    noons = [midnight(day) + 12 * 3_600_000_000 for day in days]
    frame = instants(noons, time_zone).to_frame()
    found = windows_of(frame, "t", hopping("1d", "3d"))
    wanted = [midnight(day + timedelta(n)) for day in days for n in (-2, -1, 0)]
    assert found["__sl_start"].to_list() == wanted


def test_a_day_that_a_zone_skipped_is_in_no_window() -> None:
    """Samoa went from 29 to 31 December 2011: Polars finds no time of day there, hourly windows go on."""
    friday = int(datetime(2011, 12, 30, 10, tzinfo=UTC).timestamp()) * 1_000_000
    times = instants([friday - 1, friday], "Pacific/Apia").to_frame()
    days = windows_of(times, "t", hopping("1d"))
    assert days.select("__sl_start", "__sl_end").rows() == [
        (friday - 86_400_000_000, friday),
        (friday, friday + 86_400_000_000),
    ]
    hours = windows_of(times, "t", hopping("1h", "2h"))
    hour = 3_600_000_000
    assert hours["__sl_start"].to_list() == [friday - 2 * hour, friday - hour, friday - hour, friday]


def test_two_hours_of_which_a_zone_skipped_the_first_begin_when_the_clock_was_put_on() -> None:
    """Casablanca goes back for Ramadan, and on again at 2 o'clock."""
    at = instants([int(datetime(2024, 4, 14, 2, 15, tzinfo=UTC).timestamp()) * 1_000_000], "Africa/Casablanca")
    found = windows_of(at.to_frame(), "t", hopping("2h"))
    edges = [int(datetime(2024, 4, 14, hour, tzinfo=UTC).timestamp()) * 1_000_000 for hour in (2, 3)]
    assert found.select("__sl_start", "__sl_end").row(0) == tuple(edges)


@pytest.mark.parametrize(
    "spec", [hopping("1m", "4m"), hopping("1m"), cumulative("1m", "1h"), hopping("1d", "1h")], ids=str
)
def test_times_that_lie_far_apart_are_placed_as_each_alone(spec: Spec) -> None:
    years = [int(datetime(year, 3, 10, 7, 30, tzinfo=UTC).timestamp()) * 1_000_000 for year in range(1950, 2030, 7)]
    together = CalendarGrid(spec, "America/New_York")
    times = instants([*years, years[0] - 60_000_000, years[3]], "America/New_York")
    panes = together.panes_of(times)
    alone = [CalendarGrid(spec, "America/New_York").panes_of(times[at : at + 1]).item() for at in range(len(times))]
    assert panes.to_list() == alone
    some = panes.drop_nulls().unique()
    each = [CalendarGrid(spec, "America/New_York").windows(some[at : at + 1]) for at in range(len(some))]
    if each:
        assert together.windows(some).equals(pl.concat(each))


@settings(deadline=None, max_examples=12)
@given(
    spec=st.sampled_from(SPECS),
    hours=st.lists(st.integers(-3000, 3000), min_size=2, max_size=8),
)
def test_what_was_asked_before_changes_no_answer(spec: Spec, hours: list[int]) -> None:
    base = int(datetime(2024, 10, 5, 15, 17, tzinfo=UTC).timestamp()) * 1_000_000
    known = CalendarGrid(spec, "Australia/Lord_Howe")
    for hour in hours:
        us = base + hour * 3_600_000_000
        fresh = CalendarGrid(spec, "Australia/Lord_Howe")
        assert known.last_end(us) == fresh.last_end(us)
        assert known.next_end(us) == fresh.next_end(us)
        times = instants([us, us + 1], "Australia/Lord_Howe")
        assert known.panes_of(times).equals(fresh.panes_of(times))


def test_rows_without_time_among_many_have_no_pane() -> None:
    times = instants([0, 3_600_000_000] * 1000, "Europe/Berlin").set(pl.Series([True, False] * 1000), None)
    for some in (times, times[:10]):
        panes = CalendarGrid(hopping("1h"), "Europe/Berlin").panes_of(some)
        assert panes.to_list() == [None, 3_600_000_000] * (len(some) // 2)


def test_the_length_of_a_duration_depends_on_how_long_months_are() -> None:
    day = 86_400_000_000
    assert Duration.parse("-1y1d").approximate_us(month_days=30) == -361 * day
    assert Duration.parse("90m").approximate_us(month_days=30) == 5_400_000_000
    assert Duration.parse("1q2h").times(3) == "3q6h"
