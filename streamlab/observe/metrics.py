"""Every metric of a task, in one typed list: its name, kind, unit and meaning.

Names are those of :class:`~streamlab.observe.status.TaskStatus`; meanings are Flink's where Flink has the metric. A
counter grows from the start of the attempt; a gauge is the value now; a rate is per second, over the last interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "rate"]


@dataclass(frozen=True)
class Metric:
    """Definition of one metric.

    Attributes
    ----------
    name : str
        Field of ``TaskStatus`` and column of ``Job.metrics()``.
    kind : {"counter", "gauge", "rate"}
        How its values relate to time.
    unit : str
        What one is one of.
    meaning : str
        One line for people.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("rows_in", "counter", "rows", "rows received, or read when the task is a source"),
    Metric("rows_out", "counter", "rows", "rows given to the next tasks, or written when the task is a sink"),
    Metric("bytes_read", "counter", "bytes", "bytes on disk of files that were read, when all are known beforehand"),
    Metric("bytes_in", "counter", "bytes", "estimated size of the rows received"),
    Metric("bytes_out", "counter", "bytes", "estimated size of the rows given"),
    Metric("rows_in_per_s", "rate", "rows/s", "rows received or read per second"),
    Metric("rows_out_per_s", "rate", "rows/s", "rows given or written per second"),
    Metric("busy_ms_per_s", "rate", "ms/s", "time spent working"),
    Metric("idle_ms_per_s", "rate", "ms/s", "time spent with nothing to do"),
    Metric("backpressured_ms_per_s", "rate", "ms/s", "time spent waiting for a slower task to take its output"),
    Metric("queued_batches", "gauge", "batches", "batches that wait at its inputs"),
    Metric("watermark_us", "gauge", "µs since 1970", "the watermark that has reached the task"),
    Metric("lag_ms", "gauge", "ms", "wall clock minus watermark"),
    Metric("late_rows", "counter", "rows", "rows that came after all their windows had closed"),
    Metric("merged_late_rows", "counter", "rows", "late rows that windows still took, within the allowed lateness"),
    Metric("dead_letters", "counter", "rows", "pieces of input that could not be understood"),
    Metric("rows_dropped", "counter", "rows", "oldest rows that the result table no longer keeps"),
    Metric("values_nulled", "counter", "values", "NaN and infinities that a sink wrote as null"),
    Metric("state_rows", "gauge", "rows", "rows held in state"),
    Metric("state_bytes", "gauge", "bytes", "estimated size of the state"),
    Metric("batch_rows", "gauge", "rows", "rows of a batch, on average over the interval"),
    Metric("batch_duration_ms", "gauge", "ms", "time that a batch took, on average over the interval"),
    Metric("latency_p50_ms", "gauge", "ms", "from reading a row to writing its result, median; sinks only"),
    Metric("latency_p99_ms", "gauge", "ms", "from reading a row to writing its result, 99th percentile; sinks only"),
)
