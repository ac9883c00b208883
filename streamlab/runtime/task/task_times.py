"""What a worker reports of a task's event time: its clocks, its splits, and what arrived in each interval.

Intervals are closed by the clock that is handed in; figures in between are those of the last closed one, so that a
report costs next to nothing.
"""

from __future__ import annotations

from collections import deque

from streamlab.connectors.reading.reader import SourceReader
from streamlab.observe.status import Arrivals, TimeStatus
from streamlab.observe.time_notes import bucket_end_ms
from streamlab.runtime.task.task import Task

INTERVAL_US = 500_000
_KEPT_INTERVALS = 4
"""So many go with each report, so that none is missed when one comes late."""
_MOST_SPLITS = 30


class TaskTimes:
    """Collects what is known of one task's event time.

    Parameters
    ----------
    task
        The task.
    reader
        Its source's reader, if it has one.
    """

    def __init__(self, task: Task, reader: SourceReader | None) -> None:
        self._task = task
        self._reader = reader
        self._arrivals: deque[Arrivals] = deque(maxlen=_KEPT_INTERVALS * max(1, len(task.notes())))
        self._closed_us: int | None = None
        self._status = TimeStatus()

    def status(self, now_us: int, stepped_us: int | None = None) -> TimeStatus:
        """Return what is known, as of the end of the last interval; of a task that has ended, as of now.

        Parameters
        ----------
        now_us
            The job's clock.
        stepped_us
            The wall clock at the end of a step by hand, which ends an interval; the job's own clock stands meanwhile.
        """
        is_near = self._closed_us is not None and abs(now_us - self._closed_us) < INTERVAL_US
        if is_near and not self._task.finished and stepped_us is None:
            return self._status
        self._closed_us = now_us
        buckets: dict[int, int] = {}
        for step, notes in self._task.notes():
            arrived = notes.take(step, now_us if stepped_us is None else stepped_us)
            if arrived is not None:
                self._arrivals.append(arrived)
            for bucket, rows in notes.late_by.items():
                buckets[bucket] = buckets.get(bucket, 0) + rows
        source = self._reader.time_status(_MOST_SPLITS) if self._reader is not None else TimeStatus()
        self._status = TimeStatus(
            as_of_us=now_us,
            clocks=(*source.clocks, *self._task.clocks()),
            splits=source.splits,
            split_count=source.split_count,
            arrivals=tuple(self._arrivals),
            furthest=None if self._reader is None else self._reader.notes.furthest,
            late_by=tuple((bucket_end_ms(bucket), rows) for bucket, rows in sorted(buckets.items())),
        )
        return self._status
