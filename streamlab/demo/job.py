"""The job of ``streamlab demo``: flights per airport and hour of departure, over the year, with late rows.

:func:`hourly` is written once and runs on the stream and on a Polars LazyFrame alike: that is what :func:`prove` uses
to check the stream's results against Polars' own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from streamlab.demo import flights
from streamlab.frame.stream_frame import StreamFrame
from streamlab.session.job import Job
from streamlab.session.sources import from_frame

FrameLike = TypeVar("FrameLike", StreamFrame, pl.LazyFrame)

_KEY = ("carrier", "flight", "dep_time")


def hourly(frame: FrameLike) -> FrameLike:
    """Count flights and average their departure delay (minutes), per airport and hour of departure."""
    return frame.group_by_dynamic("dep_time", every="1h", group_by="origin").agg(
        pl.len().alias("flights"), pl.col("dep_delay").mean().round(1).alias("mean_delay")
    )


def start(*, delay: str = "6h", pace: str = "max", workers: int = 2, name: str = "demo") -> Job:
    """Start the job on the year's flights, in order of landing.

    Parameters
    ----------
    delay
        How far the watermark stays behind the latest departure seen.
    pace
        ``"max"``, or how many times faster than the year itself, such as ``"1000000x"``.
    workers
        Worker processes.
    name
        The job's name.
    """
    stream = from_frame(flights.by_landing_hour(), event_time="dep_time", watermark=delay, pace=pace)
    return hourly(stream).start(name, parallelism=workers)


@dataclass(frozen=True)
class Proof:
    """How the job's results compare with Polars' own on the same rows without the late ones.

    Attributes
    ----------
    equal : bool
        Whether both are the same table.
    windows : int
        Rows of the job's table.
    expected_windows : int
        Rows of Polars' table.
    rows : int
        Rows that both were computed from.
    late : pl.DataFrame
        The late rows.
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


def prove(job: Job) -> Proof:
    """Compute the same result with Polars and compare it with the job's, which must have finished."""
    everything = flights.load().frame
    late = job.late_rows()
    on_time = everything.join(late, on=_KEY, how="anti") if late.height else everything
    began = time.perf_counter()
    expected = hourly(on_time.sort("dep_time").lazy()).collect()
    polars_s = time.perf_counter() - began
    expected = expected.sort("origin", "dep_time")
    got = job.results().select(expected.columns).sort("origin", "dep_time")
    # Every late row must be one of the year's own, once: else leaving it out would prove nothing.
    equal = got.equals(expected) and on_time.height + late.height == everything.height
    return Proof(
        equal=equal,
        windows=got.height,
        expected_windows=expected.height,
        rows=on_time.height,
        late=late,
        polars_s=polars_s,
        difference="" if equal else _difference(got, expected),
    )


def destinations(late: pl.DataFrame) -> pl.DataFrame:
    """Return where late flights went, most first: ``dest``, ``flights``, ``name``."""
    if late.is_empty():
        return pl.DataFrame(schema={"dest": pl.String, "flights": pl.UInt32, "name": pl.String})
    counts = late.group_by("dest").agg(pl.len().alias("flights")).sort("flights", "dest", descending=[True, False])
    return counts.join(
        flights.airports().select("faa", "name"), left_on="dest", right_on="faa", how="left", maintain_order="left"
    )


def _difference(got: pl.DataFrame, expected: pl.DataFrame) -> str:
    only_job = got.join(expected, on=got.columns, how="anti", nulls_equal=True)
    only_polars = expected.join(got, on=got.columns, how="anti", nulls_equal=True)
    return f"only in the job's:\n{only_job.head(5)}\nonly in Polars':\n{only_polars.head(5)}"
