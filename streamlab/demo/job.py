"""The job of ``streamlab demo``: flights per airport and hour of departure, over the year, with late rows.

:func:`hourly` is written once and runs on the stream and on a Polars LazyFrame alike: that is what :func:`prove` uses
to check the stream's results against Polars' own. Which rows are late Polars says as well (:func:`late_by_rule`).
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from streamlab.demo import flights
from streamlab.frame.stream_frame import StreamFrame
from streamlab.job.job import Job
from streamlab.job.row_stream import discard
from streamlab.job.sources import scan_parquet
from streamlab.runtime.client.client import find

FrameLike = TypeVar("FrameLike", StreamFrame, pl.LazyFrame)

EVENT_TIME = "dep_time"
_EVERY = "1h"
_KEY = (EVENT_TIME, "carrier", "flight")
"""What tells a flight from all others."""


def first_days(days: int) -> pl.DataFrame:
    """Return the flights that landed on the first days of the year (UTC)."""
    end = dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=days)
    return flights.load().frame.filter(pl.col("landing_time") < end)


def hourly(frame: FrameLike) -> FrameLike:
    """Count flights and average their departure delay (minutes), per airport and hour of departure."""
    return frame.group_by_dynamic(EVENT_TIME, every=_EVERY, group_by="origin").agg(
        pl.len().alias("flights"), pl.col("dep_delay").mean().round(1).alias("mean_delay")
    )


@contextmanager
def running(rows: pl.DataFrame, *, delay: str, pace: str, workers: int, name: str = "demo") -> Iterator[Job]:
    """Start the job on flights, from a Parquet file; at the end of the block it has ended and nothing is left of it.

    Parameters
    ----------
    rows
        Columns as in :data:`~streamlab.demo.flights.SCHEMA`, in order of landing.
    delay
        How far the watermark stays behind the latest departure seen.
    pace
        ``"max"``, or how many times faster than the year itself, such as ``"60000x"``.
    workers
        Worker processes.
    name
        The job's name.
    """
    with tempfile.TemporaryDirectory(prefix="streamlab-demo-") as folder:
        file = Path(folder) / "flights.parquet"
        rows.write_parquet(file, compression="lz4")
        stream = hourly(scan_parquet(file, event_time=EVENT_TIME, watermark=delay, pace=pace))
        job = stream.start(name, parallelism=workers)
        try:
            yield job
        finally:
            discard(find(job.id))


def late_by_rule(rows: pl.DataFrame, delay: str) -> pl.DataFrame:
    """Return the rows that come too late, by the rule and in order of arrival; no stream is asked.

    A row is late when its hour had ended before the watermark that stood as it came: the latest departure of all rows
    before it, less the delay.

    Parameters
    ----------
    rows
        In order of arrival.
    delay
        How far the watermark stays behind.

    Examples
    --------
    >>> at = [dt.datetime(2013, 1, 1, hour, tzinfo=dt.UTC) for hour in (1, 5, 2)]
    >>> late_by_rule(pl.DataFrame({"dep_time": at}), "2h")["dep_time"].dt.hour().to_list()
    [2]
    >>> late_by_rule(pl.DataFrame({"dep_time": at}), "3h").height
    0
    """
    watermark = pl.col(EVENT_TIME).cum_max().shift(1).dt.offset_by(f"-{delay}")
    return rows.filter(pl.col(EVENT_TIME).dt.truncate(_EVERY).dt.offset_by(_EVERY) <= watermark)


@dataclass(frozen=True)
class Proof:
    """How the job's results and late rows compare with Polars' own on the same rows.

    Attributes
    ----------
    equal : bool
        Whether windows and late rows are the same.
    windows : int
        Rows of the job's table.
    expected_windows : int
        Rows of Polars' table.
    rows : int
        Rows that are not late.
    late : pl.DataFrame
        The job's late rows.
    polars_s : float
        How long Polars took, in one go.
    difference : str
        The first rows that differ, as text; empty when none do.
    """

    equal: bool
    windows: int
    expected_windows: int
    rows: int
    late: pl.DataFrame
    polars_s: float
    difference: str


def prove(job: Job, rows: pl.DataFrame, delay: str) -> Proof:
    """Compute the same with Polars and compare it with what the job has, which must have finished."""
    began = time.perf_counter()
    expected_late = late_by_rule(rows, delay)
    on_time = rows.join(expected_late, on=_KEY, how="anti")
    expected = hourly(on_time.sort(EVENT_TIME).lazy()).collect()
    polars_s = time.perf_counter() - began
    expected = expected.sort("origin", EVENT_TIME)
    windows = job.results().select(expected.columns).sort("origin", EVENT_TIME)
    late = job.late_rows().select(rows.columns)
    differences = [
        _difference("windows", windows, expected),
        _difference("late rows", late.sort(_KEY), expected_late.sort(_KEY)),
    ]
    difference = "\n".join(filter(None, differences))
    return Proof(
        equal=not difference,
        windows=windows.height,
        expected_windows=expected.height,
        rows=on_time.height,
        late=late,
        polars_s=polars_s,
        difference=difference,
    )


def destinations(late: pl.DataFrame) -> pl.DataFrame:
    """Return where late flights went, most first: ``dest``, ``flights``, ``name``."""
    if late.is_empty():
        return pl.DataFrame(schema={"dest": pl.String, "flights": pl.UInt32, "name": pl.String})
    counts = late.group_by("dest").agg(pl.len().alias("flights")).sort("flights", "dest", descending=[True, False])
    return counts.join(
        flights.airports().select("faa", "name"), left_on="dest", right_on="faa", how="left", maintain_order="left"
    )


def _difference(what: str, got: pl.DataFrame, expected: pl.DataFrame) -> str:
    if got.equals(expected):
        return ""
    only_job = got.join(expected, on=expected.columns, how="anti", nulls_equal=True)
    only_polars = expected.join(got, on=expected.columns, how="anti", nulls_equal=True)
    counts = f"{what}: the job has {got.height:,}, Polars {expected.height:,}"
    return f"{counts}; only the job's:\n{only_job.head(5)}\nonly Polars':\n{only_polars.head(5)}"
