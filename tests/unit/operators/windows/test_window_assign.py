"""Which windows and panes a time is in; the cases of Flink's assigners, and calendars by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_model import cumulative, fixed_windows, hopping, session

from streamlab.core.errors import OptionError, PlanError
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, Duration
from streamlab.core.event_time.windows import (
    CumulativeWindows,
    EveryDuration,
    EveryRows,
    HoppingWindows,
    SessionWindows,
    Trigger,
    Windows,
)
from streamlab.operators.windows import merge_sessions, panes_of, window_operators, windows_of
from streamlab.operators.windows.grids.assign import grid_of
from streamlab.operators.windows.grids.calendar_grid import CalendarGrid
from streamlab.operators.windows.grids.calendar_starts import CalendarStarts
from streamlab.operators.windows.grids.grid import Bounds, FixedGrid
from streamlab.plan.expressions.split import split_aggregates


def ms_frame(*times: int | None) -> pl.DataFrame:
    return pl.DataFrame({"t": pl.Series(times, dtype=pl.Int64).cast(pl.Datetime("ms"))})


def windows_in_ms(windows: Windows, at: int) -> list[tuple[int, int]]:
    found = windows_of(ms_frame(at), "t", windows)
    return [(start // 1000, end // 1000) for start, end in found.select("__sl_start", "__sl_end").rows()]


@pytest.mark.parametrize(
    ("windows", "at", "expected"),
    [
        (hopping("5s"), 4999, [(0, 5000)]),
        (hopping("5s"), 5000, [(5000, 10000)]),
        (hopping("5s", offset="100ms"), 0, [(-4900, 100)]),
        (hopping("5s", offset="-100ms"), 4900, [(4900, 9900)]),
        (hopping("1s", "5s"), 0, [(-4000, 1000), (-3000, 2000), (-2000, 3000), (-1000, 4000), (0, 5000)]),
        (hopping("1s", "2500ms"), 400, [(-2000, 500), (-1000, 1500), (0, 2500)]),
        (hopping("1s", "2500ms"), 500, [(-1000, 1500), (0, 2500)]),
        (hopping("5s", "2s"), 1999, [(0, 2000)]),
        (hopping("5s", "2s"), 2000, []),
        (hopping("5s"), -1, [(-5000, 0)]),
        (cumulative("2s", "6s"), 3999, [(0, 4000), (0, 6000)]),
        (cumulative("2s", "6s"), -1, [(-6000, 0)]),
        (cumulative("4s", "6s"), 1, [(0, 4000), (0, 6000)]),
        (session("5s"), 4999, [(4999, 9999)]),
    ],
)
def test_windows_of_a_time(windows: Windows, at: int, expected: list[tuple[int, int]]) -> None:
    assert windows_in_ms(windows, at) == expected


def test_the_window_that_ends_at_a_time() -> None:
    """Flink's slice assigners are asked this way round: the window that holds the tick before, and ends there."""
    before = windows_of(ms_frame(5 * 3_600_000 - 1), "t", hopping("1h", "5h")).filter(
        pl.col("__sl_end") == 5 * 3_600_000_000
    )
    assert before["__sl_start"].to_list() == [0]


def test_rows_without_time_are_in_no_window() -> None:
    for windows in (hopping("1s"), hopping("1mo"), cumulative("1s", "2s"), session("1s")):
        assert windows_of(ms_frame(None), "t", windows).is_empty()
        assert windows_of(ms_frame(), "t", windows).is_empty()


def test_columns_are_kept_and_rows_in_order() -> None:
    frame = ms_frame(3000, 0, 3000).with_columns(row=pl.int_range(3))
    found = windows_of(frame, "t", hopping("2s", "4s"))
    assert found["row"].to_list() == [0, 0, 1, 1, 2, 2]
    assert found.columns == ["t", "row", "__sl_start", "__sl_end"]


grids = st.one_of(
    st.builds(
        lambda every, period, offset: hopping(f"{every}ms", f"{period}ms", f"{offset}ms"),
        st.integers(1, 9),
        st.integers(1, 25),
        st.integers(-12, 12),
    ),
    st.builds(
        lambda step, times, rest, offset: cumulative(f"{step}ms", f"{step * times + rest}ms", f"{offset}ms"),
        st.integers(1, 5),
        st.integers(1, 4),
        st.integers(0, 2),
        st.integers(-12, 12),
    ),
)


@settings(deadline=None, max_examples=25)
@given(windows=grids, times=st.lists(st.integers(-60, 60), min_size=1, max_size=20))
def test_both_grids_give_the_windows_found_by_trying(
    windows: HoppingWindows | CumulativeWindows, times: list[int]
) -> None:
    frame = ms_frame(*times)
    fixed, calendar = FixedGrid.of(windows), CalendarGrid(windows, None)
    assert fixed is not None
    panes = [frame.select(grid.pane("t").alias("pane"))["pane"] for grid in (fixed, calendar)]
    assert panes[0].to_list() == panes[1].to_list()
    every = [windows.every, getattr(windows, "period", windows.every)]
    for at, pane in zip(times, panes[0], strict=True):
        wanted = fixed_windows(windows, at)
        if pane is None:
            assert wanted == []
            continue
        for grid in (fixed, calendar):
            rows = grid.windows(pl.Series([pane])).select("__sl_start", "__sl_end").rows()
            assert sorted((s // 1000, e // 1000) for s, e in rows) == sorted(wanted)
    at_us = times[0] * 1000
    around = range(times[0] - 80, times[0] + 80)
    known = sorted({window for at in around for window in fixed_windows(windows, at)})
    last_end = max(end for _, end in known if end <= times[0])
    first_open = min(start for start, end in known if end > times[0])
    for grid in (fixed, calendar):
        assert grid.last_end(at_us) == last_end * 1000, every
        assert grid.first_open_start(at_us) == first_open * 1000, every
        assert grid.next_end(at_us) == min(end for _, end in known if end > times[0]) * 1000, every
        remembers = Bounds(grid)
        for limit in (at_us, at_us, at_us + 1000, at_us + 3000, at_us + 1000):
            assert remembers.at(limit) == Bounds(grid).at(limit)


@pytest.mark.parametrize("windows", [hopping("3s"), hopping("1mo"), cumulative("1d", "1mo"), hopping("1w", "3d")])
def test_bounds_at_the_ends_of_time(windows: HoppingWindows | CumulativeWindows) -> None:
    bounds = Bounds(grid_of(windows, pl.Datetime("us")))
    assert bounds.at(MIN_TIME_US) == (MIN_TIME_US, MIN_TIME_US)
    assert bounds.at(MAX_TIME_US) == (MAX_TIME_US, MAX_TIME_US)
    low, high = bounds.at(2**62)
    assert low <= 2**62
    assert isinstance(high, int)


def test_cumulative_days_of_a_month() -> None:
    at = pl.DataFrame({"t": [datetime(2024, 2, 27, 23, tzinfo=UTC)]})
    found = windows_of(at, "t", cumulative("1d", "1mo"))
    ends = found.select(pl.col("__sl_end").cast(pl.Datetime("us")))["__sl_end"].dt.day().to_list()
    assert ends == [28, 29, 1]
    assert found["__sl_start"].unique().to_list() == [int(datetime(2024, 2, 1, tzinfo=UTC).timestamp()) * 1_000_000]
    panes = panes_of(at, "t", cumulative("1d", "1mo"))["__sl_pane"]
    assert panes.to_list() == [int(datetime(2024, 2, 27, tzinfo=UTC).timestamp()) * 1_000_000]


def test_windows_that_sometimes_leave_a_gap() -> None:
    """Thirty days in every month: nothing is left of February, a day of January is."""
    days = pl.DataFrame({"t": [datetime(2023, 1, 30, tzinfo=UTC), datetime(2023, 1, 31, tzinfo=UTC)]})
    found = windows_of(days, "t", hopping("1mo", "30d"))
    assert found["t"].dt.day().to_list() == [30]
    march = pl.DataFrame({"t": [datetime(2023, 3, 1, tzinfo=UTC)]})
    assert windows_of(march, "t", hopping("1mo", "30d")).height == 2


@pytest.mark.parametrize(
    ("intervals", "merged"),
    [
        ([(0, 1), (1, 2), (2, 3), (4, 5), (5, 6)], [(0, 3), (0, 3), (0, 3), (4, 6), (4, 6)]),
        ([(1, 1), (0, 2), (4, 7), (5, 6)], [(0, 2), (0, 2), (4, 7), (4, 7)]),
        ([(5, 6), (0, 1)], [(5, 6), (0, 1)]),
        ([], []),
    ],
)
def test_sessions_that_overlap_or_touch_merge(intervals: list[tuple[int, int]], merged: list[tuple[int, int]]) -> None:
    frame = pl.DataFrame(intervals, schema={"__sl_start": pl.Int64, "__sl_end": pl.Int64}, orient="row")
    assert merge_sessions(frame).rows() == merged


@given(
    st.lists(
        st.tuples(st.sampled_from([None, float("nan"), 0.0]), st.integers(-30, 30), st.integers(0, 6)), max_size=30
    )
)
def test_merged_sessions_are_the_components_of_touching(rows: list[tuple[float | None, int, int]]) -> None:
    frame = pl.DataFrame(
        [(str(key), start, start + length) for key, start, length in rows],
        schema={"k": pl.String, "__sl_start": pl.Int64, "__sl_end": pl.Int64},
        orient="row",
    )
    got = merge_sessions(frame, ["k"]).rows()
    parts = [[i] for i in range(len(rows))]
    every = frame.rows()
    for i, (key, start, end) in enumerate(every):
        near = [p for p in parts if any(every[j][0] == key and every[j][1] <= end and start <= every[j][2] for j in p)]
        joined = sorted({i, *(j for p in near for j in p)})
        parts = [p for p in parts if p not in near and p != [i]] + [joined]
    for part in parts:
        low, high = min(every[j][1] for j in part), max(every[j][2] for j in part)
        assert {got[j] for j in part} == {(every[part[0]][0], low, high)}


def test_sessions_far_apart_of_many_keys_do_not_overflow() -> None:
    far = 2**62
    frame = pl.DataFrame(
        {"k": [1, 1, None, 2, 2], "__sl_start": [-far, far, 0, 5, 6], "__sl_end": [-far + 1, far + 1, 1, 6, 9]}
    )
    assert merge_sessions(frame, ["k"]).rows() == [
        (1, -far, -far + 1),
        (1, far, far + 1),
        (None, 0, 1),
        (2, 5, 9),
        (2, 5, 9),
    ]


@pytest.mark.parametrize(
    ("windows", "error", "text"),
    [
        (SessionWindows(Duration.parse("0s")), PlanError, "a gap longer than 0"),
        (SessionWindows(Duration.parse("1mo")), OptionError, "fixed length"),
        (HoppingWindows(*map(Duration.parse, ("-1h", "1h", "0s"))), PlanError, "at least 1us"),
        (HoppingWindows(*map(Duration.parse, ("1h", "0h", "0s"))), PlanError, "at least 1us"),
        (CumulativeWindows(*map(Duration.parse, ("0s", "1h", "0s"))), PlanError, "at least 1us"),
        (HoppingWindows(*map(Duration.parse, ("1500ns", "1s", "0s"))), PlanError, "every: needs"),
    ],
)
def test_windows_that_cannot_be_are_refused(windows: Windows, error: type[Exception], text: str) -> None:
    schema = pl.Schema({"t": pl.Datetime("us")})
    split = split_aggregates((pl.col("t"),), [pl.len()], schema, "t")
    with pytest.raises(error, match=text):
        window_operators("w", index_column="t", windows=windows, keys=(), split=split, input_schema=schema)


def test_windows_finer_than_the_column_are_refused() -> None:
    schema = pl.Schema({"t": pl.Datetime("ms", "UTC")})
    split = split_aggregates((pl.col("t"),), [pl.len()], schema, "t")
    with pytest.raises(PlanError, match="whole milliseconds, the unit of 't'"):
        window_operators("w", index_column="t", windows=hopping("1500us"), keys=(), split=split, input_schema=schema)


@pytest.mark.parametrize("trigger", [EveryRows(0), EveryDuration(Duration.parse("0s"))], ids=str)
def test_triggers_that_cannot_be_are_refused(trigger: Trigger) -> None:
    schema = pl.Schema({"t": pl.Date})
    split = split_aggregates((pl.col("t"),), [pl.len()], schema, "t")
    with pytest.raises(PlanError, match="trigger: needs"):
        window_operators(
            "w", index_column="t", windows=hopping("1d"), keys=(), split=split, input_schema=schema, trigger=trigger
        )


@pytest.mark.parametrize("time_zone", ["America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "windows", [hopping("1h"), hopping("7m"), hopping("1d"), hopping("1d", "1h"), hopping("1w", "10d")], ids=str
)
def test_many_rows_are_placed_as_few_are(windows: HoppingWindows, time_zone: str) -> None:
    """Across daylight saving, which is half an hour on Lord Howe Island."""
    month = 10 if time_zone == "Australia/Lord_Howe" else 11
    around = datetime(2021, month, 7 if month == 11 else 2, tzinfo=UTC)
    start = int(around.timestamp()) * 1_000_000 - 2 * 86_400_000_000
    us = pl.int_range(start, start + 4 * 86_400_000_000, 97_000_000, eager=True)
    times = us.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone)
    grid = CalendarGrid(windows, time_zone)
    few = pl.concat([grid.panes_of(times[at : at + 1]) for at in range(0, len(times), 50)])
    assert grid.panes_of(times)[::50].to_list() == few.to_list()


@pytest.mark.parametrize("offset", ["1w", "-1w", "1mo"])
def test_an_offset_that_is_long_beside_the_windows_takes_no_walk(offset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    truncated = CalendarStarts._truncated
    monkeypatch.setattr(CalendarStarts, "_truncated", lambda self, times: calls.append(1) or truncated(self, times))
    times = pl.Series([datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)]).dt.convert_time_zone("Europe/Berlin")

    panes = CalendarGrid(hopping("1m", offset=offset), "Europe/Berlin").panes_of(times)

    assert panes.cast(pl.Datetime("us", "UTC")).to_list() == [datetime(2024, 5, 6, 5, 8, tzinfo=UTC)]
    assert len(calls) < 100
