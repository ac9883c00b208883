"""The table of late rows has the columns of the windows' input, whether or not a row was late."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import streamlab as sl

ROWS = pl.DataFrame({"t": [dt.datetime(2013, 1, 1, hour, tzinfo=dt.UTC) for hour in range(9)], "k": "a", "more": 1})


@pytest.mark.parametrize("late", [0, 1])
def test_columns_of_late_rows(late: int) -> None:
    stream = sl.from_frame([ROWS, ROWS[:late]], event_time="t", watermark="1h").filter(pl.col("k") == "a")
    job = stream.group_by_dynamic("t", every="1h", group_by="k").agg(pl.len()).start(parallelism=1)
    job.wait(60)
    assert job.late_rows().equals(ROWS[:late])
    assert job.late_rows().schema == ROWS.schema


def test_a_job_without_windows_has_none() -> None:
    job = sl.from_frame(ROWS).start(parallelism=1)
    job.wait(60)
    assert job.late_rows().is_empty()
