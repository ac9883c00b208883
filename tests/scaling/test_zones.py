"""Windows in a time zone with daylight saving cost about what they cost in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from ratio import MOST, cost_ratio

from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows
from streamlab.core.messages import Batch, Watermark
from streamlab.operators.base import OperatorContext
from streamlab.operators.windows import window_operators
from streamlab.plan.expressions.split import split_aggregates

BATCHES = 20


def windows(every: str, period: str, offset: str = "0s") -> HoppingWindows:
    return HoppingWindows(*map(Duration.parse, (every, period, offset)))


def run(spec: HoppingWindows | CumulativeWindows, time_zone: str, rows: int) -> Callable[[], None]:
    """Return a call that aggregates batches of rows a second apart from midnight on, with a watermark after each."""
    start = int(datetime(2024, 11, 3, tzinfo=ZoneInfo(time_zone)).timestamp()) * 1_000_000
    us = pl.int_range(start, start + BATCHES * rows * 1_000_000, 1_000_000, eager=True)
    times = us.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone)
    frame = pl.DataFrame({"t": times, "k": us % 10})
    key = pl.col("k")
    split = split_aggregates((key, pl.col("t")), [pl.len()], frame.schema, "t")
    local, _, keyed = window_operators(
        "w", index_column="t", windows=spec, keys=(key,), split=split, input_schema=frame.schema
    )

    def aggregate() -> None:
        first, second = local.build(OperatorContext(0, 1)), keyed.build(OperatorContext(0, 1))
        for at in range(0, frame.height, rows):
            for message in first.process(Batch(frame[at : at + rows])):
                assert isinstance(message, Batch)
                second.process(message)
            until = Watermark(int(us[at + rows - 1]) - 1)
            first.on_watermark(until.us)
            second.on_watermark(until.us)

    return aggregate


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        (windows("1m", "4h"), 1),
        (windows("1m", "4h"), 600),
        (windows("1m", "24h"), 60),
        (windows("1d", "17d"), 3000),
        (windows("1h", "1d"), 3000),
        (windows("1d", "1d", "6h"), 3000),
        (CumulativeWindows(*map(Duration.parse, ("10m", "1d", "0s"))), 600),
    ],
    ids=str,
)
def test_a_zone_with_daylight_saving_costs_about_what_utc_does(
    spec: HoppingWindows | CumulativeWindows, rows: int
) -> None:
    """On the night on which clocks go back in New York, in small and in large batches."""
    ratio = cost_ratio(run(spec, "America/New_York", rows), run(spec, "UTC", rows), repeats=3)
    assert ratio < MOST, f"{ratio:.1f} times as much processor time as in UTC"
