"""Python functions in expressions misbehave: the job fails and says in which step, as for map_batches."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import streamlab as sl

FRAME = pl.DataFrame({"t": [dt.datetime(2024, 1, 1, 0, 0, at, tzinfo=dt.UTC) for at in range(10)], "n": range(10)})


def never_returns(number: int) -> int:
    time.sleep(10_000)
    return number


def in_a_step(stream: sl.StreamFrame) -> sl.StreamFrame:
    return stream.filter(pl.col("n") > 3).with_columns(pl.col("n").map_elements(never_returns, return_dtype=pl.Int64))


def in_a_window(stream: sl.StreamFrame) -> sl.StreamFrame:
    return (
        stream.group_by_dynamic("t", every="1h")
        .agg(pl.col("n").map_batches(lambda s: never_returns(len(s)), returns_scalar=True, return_dtype=pl.Int64))
        .named("hours")
    )


@pytest.mark.parametrize("query", [in_a_step, in_a_window])
@pytest.mark.parametrize("scan", [True, False], ids=["scan", "frame"])
def test_a_function_that_never_returns(
    tmp_path: Path, query: Callable[[sl.StreamFrame], sl.StreamFrame], scan: bool
) -> None:
    FRAME.write_parquet(tmp_path / "rows.parquet")
    timing = {"event_time": "t", "watermark": "1h"}
    stream = sl.scan_parquet(tmp_path, **timing) if scan else sl.from_frame(FRAME, **timing)
    job = query(stream).start(parallelism=1, step_timeout_ms=500)
    step = "with_columns" if query is in_a_step else "hours"
    with pytest.raises(sl.StepFailed, match=rf"^{step}: needs each call to return within 0.5 s"):
        job.wait(60)
    assert job.report().failure.step == step
