"""What a running step takes note of about event time, for whoever looks: cheap, bounded, and no part of its state.

A step notes; the driver takes what was noted since it last did. Costs of rows that are on time: a few numbers a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from streamlab.core.time import MIN_TIME_US, time_us
from streamlab.observe.history import SAMPLED, thinned
from streamlab.observe.late_notes import KEPT, stored
from streamlab.observe.status import Arrivals

_MOST_SAMPLED = 8 * SAMPLED
STEPS_PER_DOUBLING = 4
"""Buckets of spans of time, to each doubling."""


def bucket_of_ms(ms: pl.Expr) -> pl.Expr:
    """Return the buckets of spans of time: four to each doubling from 1 ms on; bucket 0 holds all that is shorter.

    >>> pl.DataFrame({"ms": [0.0, 1.0, 1.1, 2.0, 1000.0]}).select(bucket_of_ms(pl.col("ms"))).to_series().to_list()
    [0, 0, 1, 4, 40]
    """
    return (ms.clip(lower_bound=1).log(2) * STEPS_PER_DOUBLING).round(9).ceil().cast(pl.Int64)


def bucket_end_ms(bucket: int) -> float:
    """Return the upper bound of a bucket.

    >>> [bucket_end_ms(bucket) for bucket in (0, 4, 40)]
    [1.0, 2.0, 1024.0]
    """
    return float(2 ** (bucket / STEPS_PER_DOUBLING))


@dataclass
class _Interval:
    rows: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    blurred: bool = False
    """Whether the earliest time of some rows is not known."""
    batches: int = 0
    sample_us: list[int] = field(default_factory=list)
    late_rows: int = 0
    late_sample_us: list[int] = field(default_factory=list)
    merged_rows: int = 0
    merged_sample_us: list[int] = field(default_factory=list)


class TimeNotes:
    """Notes of one step of one subtask."""

    def __init__(self) -> None:
        self.watermark_us = MIN_TIME_US
        """The step's own watermark."""
        self.merged_rows = 0
        """Late rows that windows still took, since the step was built."""
        self.late_by: dict[int, int] = {}
        """Rows set aside by how much too late they were, as buckets of `bucket_of_ms`, since the step was built."""
        self._interval = _Interval()
        self._late: deque[tuple[pl.DataFrame, pl.DataFrame]] = deque()
        self._late_rows = 0

    def arrived(self, rows: int, earliest_us: int | None, latest_us: int | None) -> None:
        """Note rows; `earliest_us` is None when it is not known."""
        now = self._interval
        now.rows += rows
        now.batches += 1
        if earliest_us is None:
            now.blurred = True
        else:
            now.earliest_us = earliest_us if now.earliest_us is None else min(now.earliest_us, earliest_us)
        if latest_us is not None:
            now.latest_us = latest_us if now.latest_us is None else max(now.latest_us, latest_us)

    @property
    def wants_sample(self) -> bool:
        """Whether a few times of the next rows are worth having: those of an interval's batches 1, 2, 4, 8, …."""
        return (self._interval.batches + 1).bit_count() == 1

    def sampled(self, times_us: Sequence[int]) -> None:
        """Note event times of a few of the rows that arrived."""
        _add(self._interval.sample_us, times_us)

    def late(self, count: int, times_us: Sequence[int], details: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Note rows that were late for all their windows: some of their event times, and the newest, with details."""
        self._interval.late_rows += count
        _add(self._interval.late_sample_us, times_us)
        self._keep(details, rows)

    def late_rows_by(self, buckets: Iterable[tuple[int, int]]) -> None:
        """Count rows that were set aside by how much too late they were."""
        for bucket, rows in buckets:
            self.late_by[bucket] = self.late_by.get(bucket, 0) + rows

    def merged(self, count: int, times_us: Sequence[int], details: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Note late rows that windows still took."""
        self.merged_rows += count
        self._interval.merged_rows += count
        _add(self._interval.merged_sample_us, times_us)
        self._keep(details, rows)

    def take(self, step: str, until_us: int) -> Arrivals | None:
        """Return what arrived since this was last called, and forget it; None when nothing did."""
        last, self._interval = self._interval, _Interval()
        if not (last.rows or last.late_rows or last.merged_rows):
            return None
        return Arrivals(
            step=step,
            until_us=until_us,
            rows=last.rows,
            earliest_us=None if last.blurred else last.earliest_us,
            latest_us=last.latest_us,
            watermark_us=self.watermark_us if self.watermark_us > MIN_TIME_US else None,
            sample_us=thinned(last.sample_us),
            late_rows=last.late_rows,
            late_sample_us=thinned(last.late_sample_us),
            merged_rows=last.merged_rows,
            merged_sample_us=thinned(last.merged_sample_us),
        )

    def take_late(self, now_us: int) -> pl.DataFrame | None:
        """Return the newest late rows that were noted since this was last called, as they are stored; forget them."""
        if not self._late:
            return None
        details, rows = (pl.concat(frames).tail(KEPT) for frames in zip(*self._late, strict=True))
        self._late.clear()
        self._late_rows = 0
        return stored(details, rows, now_us)

    def _keep(self, details: pl.DataFrame, rows: pl.DataFrame) -> None:
        self._late.append((details, rows))
        self._late_rows += rows.height
        while self._late_rows - self._late[0][1].height >= KEPT:
            self._late_rows -= self._late.popleft()[1].height


def _add(sample_us: list[int], times_us: Sequence[int]) -> None:
    sample_us += times_us[: max(0, _MOST_SAMPLED - len(sample_us))]


def some_times(rows: pl.DataFrame, column: str, most: int = SAMPLED) -> list[int]:
    """Return the values, in µs, of a few rows of a time column, evenly spread.

    >>> some_times(pl.DataFrame({"t": pl.Series(range(6)).cast(pl.Datetime("ms"))}), "t", 3)
    [0, 2000, 4000]
    """
    some = rows.select(column)
    if some.height > most:
        some = some[[at * rows.height // most for at in range(most)]]
    found: list[int] = some.select(time_us(column)).to_series().drop_nulls().to_list()
    return found
