"""A job's history as frames, for charts and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.history import ArrivalSample, Sample, SplitSample, TaskSample

_TIME = pl.Datetime("us", "UTC")
_TIMES = pl.List(pl.Datetime("us", "UTC"))
_JOB_ONLY = ("number", "at_us", "from_us", "tasks", "splits", "arrivals")
FIGURE_DTYPES: Mapping[object, pl.DataType] = {
    str: pl.String(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    int | None: pl.Int64(),
    float: pl.Float64(),
    float | None: pl.Float64(),
    tuple[int, ...]: pl.List(pl.Int64()),
    tuple[int | None, ...]: pl.List(pl.Int64()),
}
"""Dtypes of the columns that hold figures, by the types of the fields that they are made of."""


class HistoryFrames(NamedTuple):
    """The parts of a history, each a frame whose first column ``at`` is the wall clock (UTC), oldest rows first.

    Attributes
    ----------
    job : pl.DataFrame
        A row per time: ``at``, ``attempt``, ``state``, and the job's figures.
    tasks : pl.DataFrame
        A row per time and subtask: ``at``, ``attempt``, ``vertex``, ``subtask``, and its figures.
    splits : pl.DataFrame
        A row per time and split, of those that hold the watermark back: ``at``, ``vertex``, ``subtask``, ``split``,
        ``rows``, ``watermark``, ``idle``, ``ended``.
    arrivals : pl.DataFrame
        A row per interval and step to which rows came: ``at`` (end of the interval), ``vertex``, ``subtask``, ``step``,
        ``rows``, ``earliest``, ``latest``, ``watermark``, ``sample``, ``late_rows``, ``late_sample``, ``merged_rows``,
        ``merged_sample``. Times are event times; samples are lists of a few of them.
    """

    job: pl.DataFrame
    tasks: pl.DataFrame
    splits: pl.DataFrame
    arrivals: pl.DataFrame


def history_frames(samples: Sequence[Sample]) -> HistoryFrames:
    """Return samples as frames.

    A watermark that is no time, before the first and at the end of the input, is null.
    """
    at = [sample.at_us for sample in samples]
    job = _frame(samples, Sample, but=_JOB_ONLY).insert_column(0, pl.Series("at", at, _TIME))
    tasks = _frame([task for sample in samples for task in sample.tasks], TaskSample)
    tasks = _behind(tasks, samples, [len(sample.tasks) for sample in samples], attempt=True)
    splits = _frame([split for sample in samples for split in sample.splits], SplitSample)
    splits = _behind(splits, samples, [len(sample.splits) for sample in samples], attempt=False)
    arrivals = _frame([arrival for sample in samples for arrival in sample.arrivals], ArrivalSample)
    until = arrivals.drop_in_place("until").alias("at")
    return HistoryFrames(job, tasks, splits, arrivals.insert_column(0, until).sort("at", maintain_order=True))


def _behind(frame: pl.DataFrame, samples: Sequence[Sample], counts: Sequence[int], *, attempt: bool) -> pl.DataFrame:
    """Return the rows behind the time, and perhaps the attempt, of the sample that each is of."""
    of = pl.Series([at for at, count in enumerate(counts) for _ in range(count)], dtype=pl.UInt32)
    front = [pl.Series("at", [sample.at_us for sample in samples], _TIME).gather(of)]
    if attempt:
        front.append(pl.Series("attempt", [sample.attempt for sample in samples], pl.Int64).gather(of))
    return pl.DataFrame(front).hstack(frame)


def _frame(rows: Sequence[msgspec.Struct], kind: type[msgspec.Struct], but: Sequence[str] = ()) -> pl.DataFrame:
    """Return structs as rows; fields that end in ``_us`` become times without that ending."""
    columns = []
    for field in msgspec.structs.fields(kind):
        if field.name in but:
            continue
        values = [getattr(row, field.name) for row in rows]
        column = pl.Series(field.name.removesuffix("_us"), values, FIGURE_DTYPES[field.type])
        if field.name.endswith("_us"):
            column = _times(column)
        columns.append(column)
    return pl.DataFrame(columns)


def _times(column: pl.Series) -> pl.Series:
    if column.dtype == pl.List(pl.Int64):
        return column.cast(_TIMES)
    is_time = (column > MIN_TIME_US) & (column < MAX_TIME_US)
    return column.to_frame().select(pl.when(is_time).then(pl.first()).cast(_TIME)).to_series()
