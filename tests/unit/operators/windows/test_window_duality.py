"""What comes out of the window operators is what Polars' ``group_by_dynamic`` gives for the sorted input."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from window_model import Pipeline, hopping, specs

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, tick_us
from streamlab.core.event_time.windows import HoppingWindows
from streamlab.operators.windows import windows_of

NEW_YORK = "America/New_York"
AGGREGATES = [
    pl.len().alias("n"),
    pl.col("v").sum(),
    pl.col("x").mean().alias("mean"),
    pl.col("x").max().alias("max"),
    pl.col("v").first().alias("first"),
    pl.col("v").last().alias("last"),
    (pl.col("v").sum() / pl.len()).alias("ratio"),
    pl.col("v").filter(pl.col("x") > 0).count().alias("positive"),
]
WITH_MEDIAN = [*AGGREGATES, pl.col("v").median().alias("median")]
quick = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def dtype_of(time_zone: str | None, unit: str) -> pl.DataType:
    return pl.Date() if unit == "d" else pl.Datetime(unit, time_zone)


@st.composite
def batches(draw: st.DrawFn, dtype: pl.DataType, around: datetime, spread: timedelta) -> list[pl.DataFrame]:
    """Rows in any order, with ties, nulls, NaN and far outliers, cut anywhere; some batches are empty."""
    moment = st.integers(-spread // timedelta(minutes=1), spread // timedelta(minutes=1))
    row = st.tuples(
        moment,
        st.sampled_from(["a", "b", None]),
        st.sampled_from([None, 0, 1, 5, -3]),
        st.sampled_from([None, 0.5, float("nan"), -2.0]),
    )
    cut = draw(st.lists(st.lists(row, max_size=9), min_size=1, max_size=6))
    # minute counts become times that every unit can hold
    frames = []
    for rows in cut:
        schema = {"t": pl.Int64, "k": pl.String, "v": pl.Int64, "x": pl.Float64}
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        us = pl.lit(int(around.timestamp()) * 1_000_000) + pl.col("t") * 60_000_000
        instant = us.cast(pl.Datetime("us", "UTC"))
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            instant = instant.dt.convert_time_zone(dtype.time_zone)
        else:
            instant = instant.dt.replace_time_zone(None)
        frames.append(frame.with_columns(instant.cast(dtype).alias("t")))
    return frames


def run(pipeline: Pipeline, frames: list[pl.DataFrame], *, lazy: bool) -> pl.DataFrame:
    """Feed the batches with the highest watermarks that make no row late."""
    every = pl.concat(frames)
    tick = tick_us(every.schema["t"])
    at = 0
    for frame in frames:
        at += frame.height
        pipeline.add(frame.lazy() if lazy else frame)
        rest = every["t"].slice(at).dt.epoch("us").min()
        pipeline.advance(MAX_TIME_US if rest is None else rest - tick)
    pipeline.end()
    found = pipeline.frames()
    assert pipeline.frames("late_rows") == []
    return pl.concat(found) if found else pl.DataFrame()


def check(
    windows: HoppingWindows,
    frames: list[pl.DataFrame],
    keys: dict[str, pl.Expr],
    *,
    aggregates: list[pl.Expr] = AGGREGATES,
    lazy: bool = False,
    receivers: int = 1,
) -> None:
    every = pl.concat(frames)
    by = tuple(expression.alias(name) for name, expression in keys.items())
    parts = specs(windows, keys=by, schema=every.schema, aggregates=aggregates)
    got = run(Pipeline(parts, receivers=receivers), frames, lazy=lazy)
    text = {"every": windows.every.text, "period": windows.period.text, "offset": windows.offset.text}
    ordered = every.sort("t", maintain_order=True)
    want = ordered.group_by_dynamic("t", **text, include_boundaries=True, group_by=by or None).agg(aggregates)
    if not got.height:
        assert want.height == 0
        return
    identity = [*keys, "t"]
    overlapping = windows_of(every, "t", windows).height > every.height
    if overlapping:
        # Polars leaves out windows that start before the first row's own.
        counts = windows_of(every, "t", windows).select("__sl_start", *by)
        counted = counts.group_by("__sl_start", *keys).len("n").rename({"__sl_start": "t"})
        mine = got.select(pl.col("t").dt.epoch("us"), *keys, "n")
        assert_frame_equal(mine, counted.select(mine.columns), check_row_order=False)
        got = got.join(want, on=identity, how="semi", nulls_equal=True)
    assert_frame_equal(got.sort(identity), want.sort(identity), check_exact=False)


@pytest.mark.parametrize("unit", ["ms", "us", "ns", "d"])
@pytest.mark.parametrize(
    "windows",
    [
        hopping("1h"),
        hopping("90m", offset="-20m"),
        hopping("1d"),
        hopping("2d", offset="1d"),
        hopping("3d", "1d"),
        hopping("2d", "5d"),
        hopping("1w"),
        hopping("2w", "3w"),
        hopping("1mo"),
        hopping("1mo", "2mo"),
        hopping("1mo", "10d"),
        hopping("1q", offset="1mo"),
        hopping("1y"),
    ],
    ids=str,
)
@quick
@given(data=st.data())
def test_windows_of_every_length_over_every_unit(windows: HoppingWindows, unit: str, data: st.DataObject) -> None:
    if unit == "d" and (windows.every.us or 10**12) < 86_400_000_000:
        unit = "ms"
    around = data.draw(st.sampled_from([datetime(1970, 1, 2, tzinfo=UTC), datetime(2024, 2, 28, tzinfo=UTC)]))
    frames = data.draw(batches(dtype_of(None, unit), around, timedelta(days=40)))
    check(windows, frames, {"k": pl.col("k")}, receivers=2)


@pytest.mark.parametrize("time_zone", ["UTC", NEW_YORK, "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "windows",
    [hopping("1h"), hopping("1d"), hopping("1w"), hopping("1mo"), hopping("1d", "2d"), hopping("1d", "1h")],
    ids=str,
)
@quick
@given(data=st.data())
def test_days_of_a_time_zone(windows: HoppingWindows, time_zone: str, data: st.DataObject) -> None:
    """Around both changes of daylight saving in New York."""
    around = data.draw(st.sampled_from([datetime(2021, 3, 14, 7, tzinfo=UTC), datetime(2021, 11, 7, 6, tzinfo=UTC)]))
    frames = data.draw(batches(dtype_of(time_zone, "us"), around, timedelta(days=3)))
    check(windows, frames, {"k": pl.col("k")}, aggregates=AGGREGATES[:2])


@pytest.mark.parametrize("every", ["2h", "3h", "90m", "5h", "2d"])
@pytest.mark.parametrize("offset", ["0s", "30m", "6h", "-1h", "1d"])
@pytest.mark.parametrize("around", [datetime(2021, 3, 14, tzinfo=UTC), datetime(2021, 11, 7, tzinfo=UTC)])
def test_odd_windows_across_daylight_saving_hold_every_row_once(every: str, offset: str, around: datetime) -> None:
    """Polars' own windows depend on the first row there, so only what must hold anyway is checked."""
    instants = pl.datetime_range(
        around - timedelta(days=3), around + timedelta(days=3), "10m", time_zone="UTC", eager=True
    )
    frame = pl.DataFrame({"t": instants.dt.convert_time_zone(NEW_YORK)})
    windows = windows_of(frame, "t", hopping(every, offset=offset))
    assert windows.height == frame.height
    time = pl.col("t").dt.epoch("us")
    assert windows.filter((pl.col("__sl_start") > time) | (time >= pl.col("__sl_end"))).is_empty()
    edges = windows.select("__sl_start", "__sl_end").unique().sort("__sl_start")
    assert edges.filter(pl.col("__sl_end") != pl.col("__sl_start").shift(-1)).height == 0


@quick
@given(data=st.data(), lazy=st.booleans(), aggregates=st.sampled_from([AGGREGATES, WITH_MEDIAN]))
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"k": pl.col("k")},
        {"k": pl.col("k").str.to_uppercase(), "big": pl.col("v") > 1},
        {"v": pl.col("v") % 2},
        {"x": pl.col("x")},
    ],
    ids=["none", "one", "two", "named as a column that is aggregated", "NaN"],
)
def test_keys(keys: dict[str, pl.Expr], data: st.DataObject, *, lazy: bool, aggregates: list[pl.Expr]) -> None:
    frames = data.draw(batches(pl.Datetime("us"), datetime(1969, 12, 31, tzinfo=UTC), timedelta(hours=9)))
    aggregates = [a for a in aggregates if a.meta.output_name() not in keys]
    check(hopping("2h"), frames, keys, lazy=lazy, aggregates=aggregates, receivers=3 if keys else 1)


@pytest.mark.parametrize("day", [datetime(2023, 11, 5, tzinfo=UTC), datetime(2023, 3, 12, tzinfo=UTC)])
def test_a_day_without_a_midnight_and_one_with_two_are_one_window_each(day: datetime) -> None:
    instants = pl.datetime_range(day - timedelta(days=1), day + timedelta(days=2), "20m", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"t": instants.dt.convert_time_zone("America/Havana")})
    found = windows_of(frame, "t", hopping("1d"))
    assert found["__sl_start"].n_unique() == found["t"].dt.date().n_unique()
    assert found.group_by(pl.col("t").dt.date()).agg(pl.col("__sl_start").n_unique())[
        "__sl_start"
    ].unique().to_list() == [1]
    starts = found.select("__sl_start", "__sl_end").unique().sort("__sl_start")
    assert starts.filter(pl.col("__sl_end") != pl.col("__sl_start").shift(-1)).is_empty()


def test_dates_far_apart() -> None:
    days = [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)]
    frame = pl.DataFrame({"t": days, "k": "a", "v": 1, "x": 1.0})
    for windows in (hopping("1d"), hopping("1w"), hopping("1mo"), hopping("1y", "2mo")):
        check(windows, [frame], {"k": pl.col("k")})


def test_first_and_last_go_by_event_time_and_then_by_arrival() -> None:
    at = [datetime(2024, 1, 1, 0, minute, tzinfo=UTC) for minute in (5, 1, 5, 1)]
    frame = pl.DataFrame({"t": at, "k": "a", "v": [1, 2, 3, 4], "x": 0.0})
    for aggregates in (AGGREGATES, WITH_MEDIAN):
        check(hopping("1h"), [frame[:2], frame[2:]], {"k": pl.col("k")}, aggregates=aggregates)
        check(hopping("1h"), [frame[:1], frame[1:2], frame[2:3], frame[3:]], {}, aggregates=aggregates)


def test_a_watermark_at_the_start_of_time_changes_nothing() -> None:
    pipeline = Pipeline(specs(hopping("1mo"), schema=pl.Schema({"t": pl.Date, "k": pl.String, "v": pl.Int64})))
    pipeline.advance(MIN_TIME_US)
    pipeline.advance(MIN_TIME_US + 1)
    assert all(frame.is_empty() for frame in pipeline.frames())
