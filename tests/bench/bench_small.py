"""What little data costs: batches of 40 rows against a loop in Polars, and a source of 2,000 rows a second."""

from __future__ import annotations

import time

import polars as pl
import psutil

import streamlab as sl

_BATCHES, _ROWS = 4_000, 40
_ROWS_PER_S = 2_000
_SETTLED_S = 10.0
"""After so long a job and the spare processes for the next one have started."""


def _nothing(batch: pl.DataFrame) -> None:
    """Take rows and do nothing."""


def _readings(start: int, n: int) -> pl.DataFrame:
    number = pl.int_range(start, start + n)
    return pl.select(at=(number * 1_000).cast(pl.Datetime("us")), key=number % 10, value=number * 0.5)


def small_batches(parallelism: int) -> tuple[float, float]:
    """Return how long a windowed count takes in times of Polars' loop: batches given at once, and one by one.

    A function that is called with results sees how rows were cut, so each batch goes through the job by itself. A table
    does not show it, so what is there is taken together.
    """
    frame = _readings(0, _BATCHES * _ROWS)
    batches = [frame[start : start + _ROWS] for start in range(0, frame.height, _ROWS)]
    stream = sl.from_frame(batches, event_time="at", watermark="1s")
    counted = stream.group_by_dynamic("at", every="1s", group_by="key").agg(rows=pl.len())
    options = {"parallelism": parallelism, "checkpoint_every": None}
    _running_s(counted.start(**options))
    began = time.perf_counter()
    for batch in batches:
        batch.group_by(pl.col("at").dt.truncate("1s"), "key").agg(pl.len().alias("rows"))
    loop_s = time.perf_counter() - began
    return _running_s(counted.start(**options)) / loop_s, _running_s(counted.sink_batches(_nothing, **options)) / loop_s


def _running_s(job: sl.Job) -> float:
    job.wait(600)
    if job.exception is not None:
        raise job.exception
    report = job.report()
    return (report.ended_us - report.started_us) / 1e6


def slow_source_cost(parallelism: int, seconds: float) -> float:
    """Return the processor time of all processes of a job at 2,000 rows/s with windows and checkpoints, in cores."""
    frame = sl.generate(_readings, rows_per_second=_ROWS_PER_S, event_time="at", watermark="1s")
    means = frame.group_by_dynamic("at", every="1s", group_by="key").agg(pl.len().alias("rows"), pl.col("value").mean())
    job = means.start("bench-slow-source", parallelism=parallelism, checkpoint_every="2s")
    time.sleep(_SETTLED_S)
    began, before = time.perf_counter(), _processor_s()
    time.sleep(seconds)
    cost = (_processor_s() - before) / (time.perf_counter() - began)
    job.cancel()
    return cost


def _processor_s() -> float:
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)
