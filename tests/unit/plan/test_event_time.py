"""Casts that keep instants keep the watermark true: checked on data."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.event_time.time import time_us
from streamlab.plan.event_time import after_select, keeps_instants

TIMES = st.integers(-(10**15), 10**15)
UNITS = ["ms", "us", "ns"]
DTYPES = [pl.Datetime(unit, zone) for unit in UNITS for zone in (None, "UTC", "Asia/Tokyo")]


@given(st.lists(TIMES, max_size=5), st.sampled_from(DTYPES), st.sampled_from([*DTYPES, pl.Date()]))
def test_a_kept_event_time_has_the_same_instants(times: list[int], before: pl.DataType, after: pl.DataType) -> None:
    frame = pl.DataFrame({"ts": times}, schema={"ts": pl.Int64}).select(
        pl.col("ts").cast(pl.Datetime("us")).cast(before)
    )
    cast = pl.col("ts").cast(after)

    kept = after_select("ts", frame.schema, [cast])

    if kept is not None:
        assert frame.select(time_us("ts")).equals(frame.select(cast).select(time_us("ts")))
    assert (kept is not None) == keeps_instants(before, after)


@pytest.mark.parametrize(
    "moved",
    [
        pl.col("ts") + pl.duration(hours=1),
        pl.col("ts").dt.truncate("1s"),
        pl.col("other"),
        pl.col("ts").fill_null(pl.col("other")),
        pl.when(pl.col("ts") > pl.col("other")).then("ts").otherwise("other"),
        pl.col("ts").dt.replace_time_zone("Asia/Tokyo"),
        pl.col("ts").cast(pl.Datetime("ms")),
    ],
)
def test_moved_times_are_lost(moved: pl.Expr) -> None:
    schema = pl.Schema({"ts": pl.Datetime("us"), "other": pl.Datetime("us")})

    assert after_select("ts", schema, [moved.alias("ts")]) is None
