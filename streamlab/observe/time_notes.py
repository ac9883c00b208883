"""What a running step takes note of about event time, for whoever looks: cheap, bounded, and no part of its state.

A step notes; the driver takes what was noted since it last did. Costs of rows that are on time: a few numbers a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamlab.core.event_time.time import MIN_TIME_US
from streamlab.observe.history import SAMPLED, thinned
from streamlab.observe.late_notes import KEPT, stored
from streamlab.observe.status import Arrivals, FurthestRow

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


class RowTime(NamedTuple):
    """When a row is of, and the watermark that it is judged by; None before the first."""

    us: int
    watermark_us: int | None


@dataclass
class _Interval:
    rows: int = 0
    earliest_us: int | None = None
    latest_us: int | None = None
    blurred: bool = False
    """Whether the earliest time of some rows is not known."""
    batches: int = 0
    sample: list[RowTime] = field(default_factory=list)
    late_rows: int = 0
    late_sample: list[RowTime] = field(default_factory=list)
    merged_rows: int = 0
    merged_sample: list[RowTime] = field(default_factory=list)


class TimeNotes:
    """Notes of one step of one subtask."""

    def __init__(self) -> None:
        self.watermark_us = MIN_TIME_US
        """The step's own watermark."""
        self.merged_rows = 0
        """Late rows that windows still took, since the step was built."""
        self.late_by: dict[int, int] = {}
        """Rows set aside by how much too late they were, as buckets of `bucket_of_ms`, since the step was built."""
        self.furthest: FurthestRow | None = None
        """The row that is furthest ahead, if one is far ahead of others or of the clock."""
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

    def sampled(self, some: Sequence[RowTime]) -> None:
        """Note the times of a few of the rows that arrived."""
        _add(self._interval.sample, some)

    def late(self, count: int, some: Sequence[RowTime], details: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Note rows that were late for all their windows: the times of some, and the newest, with details."""
        self._interval.late_rows += count
        _add(self._interval.late_sample, some)
        self._keep(details, rows)

    def late_rows_by(self, buckets: Iterable[tuple[int, int]]) -> None:
        """Count rows that were set aside by how much too late they were."""
        for bucket, rows in buckets:
            self.late_by[bucket] = self.late_by.get(bucket, 0) + rows

    def merged(self, count: int, some: Sequence[RowTime], details: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Note late rows that windows still took."""
        self.merged_rows += count
        self._interval.merged_rows += count
        _add(self._interval.merged_sample, some)
        self._keep(details, rows)

    def take(self, step: str, until_us: int) -> Arrivals | None:
        """Return what arrived since this was last called, and forget it; None when nothing did."""
        last, self._interval = self._interval, _Interval()
        if not (last.rows or last.late_rows or last.merged_rows):
            return None
        sample, late, merged = map(thinned, (last.sample, last.late_sample, last.merged_sample))
        return Arrivals(
            step=step,
            until_us=until_us,
            rows=last.rows,
            earliest_us=None if last.blurred else last.earliest_us,
            latest_us=last.latest_us,
            watermark_us=self.watermark_us if self.watermark_us > MIN_TIME_US else None,
            sample_us=tuple(one.us for one in sample),
            sample_watermark_us=tuple(one.watermark_us for one in sample),
            late_rows=last.late_rows,
            late_sample_us=tuple(one.us for one in late),
            late_watermark_us=tuple(one.watermark_us for one in late),
            merged_rows=last.merged_rows,
            merged_sample_us=tuple(one.us for one in merged),
            merged_watermark_us=tuple(one.watermark_us for one in merged),
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


def _add(sample: list[RowTime], some: Sequence[RowTime]) -> None:
    sample += some[: max(0, _MOST_SAMPLED - len(sample))]


def some_times(times_us: NDArray[np.int64], watermarks_us: NDArray[np.int64], most: int = SAMPLED) -> list[RowTime]:
    """Return the times of a few rows, evenly spread, with the watermarks before them; `MIN_TIME_US` is none.

    >>> some_times(np.arange(6), np.arange(6) - 3, 2)
    [RowTime(us=0, watermark_us=-3), RowTime(us=3, watermark_us=0)]
    """
    height = len(times_us)
    places = range(height) if height <= most else [at * height // most for at in range(most)]
    pairs = zip(times_us[places].tolist(), watermarks_us[places].tolist(), strict=True)
    return [RowTime(us, watermark_us if watermark_us > MIN_TIME_US else None) for us, watermark_us in pairs]
