"""A job's figures over time, in a bounded ring: the last minutes in detail, the whole course ever more thinly.

Pure, and free of Polars: the coordinator keeps it. A *sample* is what is kept of one status. Samples of the last
minutes are all kept; older ones are merged with their neighbours, so that at most so many are left, each standing for a
stretch of time that doubles whenever they become too many. A merged sample has the figures of its end (counters grow,
so none is lost) and the arrivals of all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from streamlab.observe.status import JobStatus, TaskStatus

_T = TypeVar("_T")
SAMPLE_EVERY_US = 500_000
"""Shortest time between two samples, unless the job's state changes."""
RECENT_US = 300_000_000
"""How far back every sample is kept."""
COURSE = 600
"""Older samples that are kept, at most."""
BUDGET_BYTES = 2_000_000
"""What all samples may take, encoded; with many tasks fewer are kept."""
_FIRST_STRIDE_US = 1_000_000
_FEWEST_RECENT_US = 30_000_000
_MOST_SPLITS = 8
SAMPLED = 20
"""Event times that are kept of one interval and step."""


class TaskSample(msgspec.Struct, frozen=True, array_like=True):
    """Figures of one subtask; units and meanings are those of `TaskStatus`."""

    vertex: str
    subtask: int
    rows_in: int
    rows_out: int
    rows_in_per_s: int
    rows_out_per_s: int
    busy_ms_per_s: int
    idle_ms_per_s: int
    backpressured_ms_per_s: int
    queued_batches: int
    watermark_us: int | None
    lag_ms: int | None
    late_rows: int
    merged_late_rows: int
    dead_letters: int
    state_rows: int
    state_bytes: int
    batch_rows: int
    batch_duration_ms: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None


class SplitSample(msgspec.Struct, frozen=True, array_like=True):
    """Where one split was."""

    vertex: str
    subtask: int
    split: str
    rows: int
    watermark_us: int | None
    idle: bool
    ended: bool


class ArrivalSample(msgspec.Struct, frozen=True, array_like=True):
    """Event times of the rows that came to a step within an interval; see `Arrivals`."""

    vertex: str
    subtask: int
    step: str
    until_us: int
    rows: int
    earliest_us: int | None
    latest_us: int | None
    watermark_us: int | None
    sample_us: tuple[int, ...]
    late_rows: int
    late_sample_us: tuple[int, ...]
    merged_rows: int
    merged_sample_us: tuple[int, ...]
    sample_watermark_us: tuple[int | None, ...] = ()
    late_watermark_us: tuple[int | None, ...] = ()
    merged_watermark_us: tuple[int | None, ...] = ()


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one status."""

    number: int
    """Counts samples of the job from 1 on."""
    at_us: int
    """Wall clock."""
    from_us: int
    """Wall clock of the first sample that was merged into it."""
    attempt: int
    state: str
    restarts: int
    rows_in: int
    rows_out: int
    rows_in_per_s: int
    rows_out_per_s: int
    watermark_us: int | None
    late_rows: int
    merged_late_rows: int
    dead_letters: int
    state_bytes: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    checkpoint: int | None
    """The newest complete one."""
    tasks: tuple[TaskSample, ...]
    splits: tuple[SplitSample, ...] = ()
    arrivals: tuple[ArrivalSample, ...] = ()


class Sampler:
    """Takes samples of the statuses of one job.

    Parameters
    ----------
    last
        The newest sample that there is already.
    """

    def __init__(self, last: Sample | None = None) -> None:
        self._last = last
        self._step = ""
        """The last step by hand of which there is a sample."""
        self._noted: dict[tuple[str, int, str], int] = {}
        """Up to when the arrivals of each step are in a sample."""
        for arrival in last.arrivals if last is not None else ():
            self._noted[arrival.vertex, arrival.subtask, arrival.step] = arrival.until_us

    def sample(self, status: JobStatus) -> Sample | None:
        """Return a sample, or None when the last one is too near, and no step by hand was taken since."""
        last, step = self._last, status.step
        # Whoever goes by hand wants to see what each step has done, however fast they follow one another.
        was_stepped = step is not None and step.state != "running" and step.request != self._step
        is_near = last is not None and abs(status.reported_us - last.at_us) < SAMPLE_EVERY_US
        if last is not None and is_near and last.state == status.state and not was_stepped:
            return None
        self._step = step.request if step is not None and was_stepped else self._step
        complete = [one.id for one in status.checkpoints if one.state == "complete"]
        self._last = Sample(
            number=1 if last is None else last.number + 1,
            at_us=status.reported_us,
            from_us=status.reported_us,
            attempt=status.attempt,
            state=str(status.state),
            restarts=status.restarts,
            rows_in=status.rows_in,
            rows_out=status.rows_out,
            rows_in_per_s=round(status.rows_in_per_s),
            rows_out_per_s=round(status.rows_out_per_s),
            watermark_us=status.watermark_us,
            late_rows=status.late_rows,
            merged_late_rows=status.merged_late_rows,
            dead_letters=status.dead_letters,
            state_bytes=status.state_bytes,
            latency_p50_ms=status.latency_p50_ms,
            latency_p99_ms=status.latency_p99_ms,
            checkpoint=max(complete, default=None),
            tasks=tuple(_task(task) for task in status.tasks),
            splits=tuple(split for task in status.tasks for split in _splits(task)),
            arrivals=tuple(arrival for task in status.tasks for arrival in self._arrivals(task)),
        )
        return self._last

    def _arrivals(self, task: TaskStatus) -> Iterator[ArrivalSample]:
        for arrival in task.time.arrivals:
            key = task.shown, task.subtask, arrival.step
            if arrival.until_us > self._noted.get(key, 0):
                self._noted[key] = arrival.until_us
                yield ArrivalSample(
                    task.shown,
                    task.subtask,
                    arrival.step,
                    arrival.until_us,
                    arrival.rows,
                    arrival.earliest_us,
                    arrival.latest_us,
                    arrival.watermark_us,
                    arrival.sample_us,
                    arrival.late_rows,
                    arrival.late_sample_us,
                    arrival.merged_rows,
                    arrival.merged_sample_us,
                    arrival.sample_watermark_us,
                    arrival.late_watermark_us,
                    arrival.merged_watermark_us,
                )


class _Kept(NamedTuple):
    """A sample, encoded: as an object it takes five times as much."""

    at_us: int
    from_us: int
    data: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sample)


class Ring:
    """The samples that are kept of one job.

    Parameters
    ----------
    samples
        What there is already, oldest first.
    budget_bytes, recent_us, course
        How much is kept.
    """

    def __init__(
        self,
        samples: Iterable[Sample] = (),
        *,
        budget_bytes: int = BUDGET_BYTES,
        recent_us: int = RECENT_US,
        course: int = COURSE,
    ) -> None:
        self._budget = budget_bytes
        self._recent_us = recent_us
        self._most = course
        self._stride_us = _FIRST_STRIDE_US
        self._recent: deque[_Kept] = deque()
        self._course: list[_Kept] = []
        self._size = 0
        for sample in samples:
            self.add(sample)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What is kept, oldest first."""
        return tuple(map(_decoder.decode, self.encoded))

    @property
    def encoded(self) -> Iterator[bytes]:
        """The same, encoded."""
        return (kept.data for kept in (*self._course, *self._recent))

    @property
    def size_bytes(self) -> int:
        """What is kept takes so much, encoded."""
        return self._size

    def add(self, sample: Sample) -> None:
        """Take a sample, newer than all others."""
        self._recent.append(self._kept(sample))
        while len(self._recent) > 1 and sample.at_us - self._recent[0].at_us > self._recent_us:
            self._age(self._dropped(self._recent.popleft()))
        if len(self._course) > self._most:
            self._thin()
        while self.size_bytes > self._budget and len(self._course) > 1:
            self._thin()
        if self.size_bytes > self._budget and self._recent_us > _FEWEST_RECENT_US:
            self._recent_us = max(self._recent_us // 2, _FEWEST_RECENT_US)

    def _age(self, sample: Sample) -> None:
        """Take a sample that is no longer recent: it may be one with the one before it."""
        if self._course and sample.at_us - self._course[-1].from_us < self._stride_us:
            sample = merged(self._dropped(self._course.pop()), sample)
        self._course.append(self._kept(sample))

    def _thin(self) -> None:
        """Let each older sample stand for twice the time."""
        self._stride_us *= 2
        before, self._course = self._course, []
        for one in before:
            self._age(self._dropped(one))

    def _kept(self, sample: Sample) -> _Kept:
        data = _encoder.encode(sample)
        self._size += len(data)
        return _Kept(sample.at_us, sample.from_us, data)

    def _dropped(self, kept: _Kept) -> Sample:
        self._size -= len(kept.data)
        return _decoder.decode(kept.data)


def merged(older: Sample, newer: Sample) -> Sample:
    """Return one sample for two that follow each other: figures of the newer one, arrivals of both."""
    arrivals = {(one.vertex, one.subtask, one.step): one for one in older.arrivals}
    for one in newer.arrivals:
        key = one.vertex, one.subtask, one.step
        arrivals[key] = _added(arrivals[key], one) if key in arrivals else one
    return msgspec.structs.replace(newer, from_us=older.from_us, arrivals=tuple(arrivals.values()))


def _added(older: ArrivalSample, newer: ArrivalSample) -> ArrivalSample:
    # Where nothing came in one of the two, the other's bounds are those of both; where one does not know, neither do.
    both = [one for one in (older, newer) if one.rows]
    earliest = [one.earliest_us for one in both if one.earliest_us is not None]
    latest = [one.latest_us for one in both if one.latest_us is not None]
    rows = _both(older.sample_us, older.sample_watermark_us, newer.sample_us, newer.sample_watermark_us)
    late = _both(older.late_sample_us, older.late_watermark_us, newer.late_sample_us, newer.late_watermark_us)
    taken = _both(older.merged_sample_us, older.merged_watermark_us, newer.merged_sample_us, newer.merged_watermark_us)
    return msgspec.structs.replace(
        newer,
        rows=older.rows + newer.rows,
        earliest_us=min(earliest) if earliest and len(earliest) == len(both) else None,
        latest_us=max(latest, default=None),
        sample_us=rows[0],
        sample_watermark_us=rows[1],
        late_rows=older.late_rows + newer.late_rows,
        late_sample_us=late[0],
        late_watermark_us=late[1],
        merged_rows=older.merged_rows + newer.merged_rows,
        merged_sample_us=taken[0],
        merged_watermark_us=taken[1],
    )


def _both(
    older: tuple[int, ...],
    older_marks: tuple[int | None, ...],
    newer: tuple[int, ...],
    newer_marks: tuple[int | None, ...],
) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Return the sampled rows of two intervals, thinned; what an earlier version has stored has no watermarks."""
    pairs = ((older, older_marks), (newer, newer_marks))
    marks = [one for times, known in pairs for one in known or (None,) * len(times)]
    rows = thinned(list(zip((*older, *newer), marks, strict=True)))
    return tuple(us for us, _ in rows), tuple(us for _, us in rows)


def thinned(values: Sequence[_T], most: int = SAMPLED) -> tuple[_T, ...]:
    """Return at most so many of the values, evenly spread over their order.

    >>> thinned(range(10), 4)
    (0, 2, 5, 7)
    """
    if len(values) <= most:
        return tuple(values)
    return tuple(values[at * len(values) // most] for at in range(most))


def _task(task: TaskStatus) -> TaskSample:
    return TaskSample(
        vertex=task.shown,
        subtask=task.subtask,
        rows_in=task.rows_in,
        rows_out=task.rows_out,
        rows_in_per_s=round(task.rows_in_per_s),
        rows_out_per_s=round(task.rows_out_per_s),
        busy_ms_per_s=round(task.busy_ms_per_s),
        idle_ms_per_s=round(task.idle_ms_per_s),
        backpressured_ms_per_s=round(task.backpressured_ms_per_s),
        queued_batches=task.queued_batches,
        watermark_us=task.watermark_us,
        lag_ms=None if task.lag_ms is None else round(task.lag_ms),
        late_rows=task.late_rows,
        merged_late_rows=task.merged_late_rows,
        dead_letters=task.dead_letters,
        state_rows=task.state_rows,
        state_bytes=task.state_bytes,
        batch_rows=round(task.batch_rows),
        batch_duration_ms=task.batch_duration_ms,
        latency_p50_ms=task.latency_p50_ms,
        latency_p99_ms=task.latency_p99_ms,
    )


def _splits(task: TaskStatus) -> Iterator[SplitSample]:
    for split in task.time.splits[:_MOST_SPLITS]:
        if split.begun:
            yield SplitSample(
                task.shown, task.subtask, split.split, split.rows, split.watermark_us, split.idle, split.ended
            )
