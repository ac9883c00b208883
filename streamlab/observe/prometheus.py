"""The figures of jobs in Prometheus' text format, version 0.0.4.

Names follow Prometheus' own rules: a prefix for the program and the thing, base units (seconds, bytes, ratios) at the
end, ``_total`` behind what only counts up. Rates are left out: Prometheus makes them from the counters. What is not
known has no line. Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.metrics import METRICS
from streamlab.observe.status import CheckpointStatus, JobState, JobStatus, SplitStatus, TaskStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_US = 1_000_000

Number = float | int | None
Labels = Mapping[str, str]
T = TypeVar("T")

_MEANINGS = {metric.name: metric.meaning for metric in METRICS}
_UNITS: dict[str, tuple[str, float]] = {
    "_ms_per_s": ("_ratio", 1000),
    "_ms": ("_seconds", 1000),
    "_us": ("_timestamp_seconds", _US),
}
"""Endings of our names, what stands for them in Prometheus, and what values are divided by."""


@dataclass
class _Family:
    name: str
    kind: str
    meaning: str
    lines: list[str] = field(default_factory=list)

    def add(self, labels: Labels, value: Number) -> None:
        if value is not None:
            said = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            self.lines.append(f"{self.name}{{{said}}} {_number(value)}")

    def __str__(self) -> str:
        return "\n".join((f"# HELP {self.name} {self.meaning}", f"# TYPE {self.name} {self.kind}", *self.lines))


def exposition(statuses: Iterable[JobStatus]) -> str:
    """Return the figures of jobs as the text of one scrape.

    Examples
    --------
    >>> status = JobStatus(id="j-1", name="demo", state=JobState.RUNNING, rows_in=7)
    >>> [line for line in exposition([status]).splitlines() if line.startswith("streamlab_job_rows_in")]
    ['streamlab_job_rows_in_total{job="demo",id="j-1"} 7']
    """
    every = list(statuses)
    families = [*_jobs(every), *_checkpoints(every), *_tasks(every), *_splits(every)]
    return "".join(f"{family}\n" for family in families if family.lines)


def _jobs(statuses: Sequence[JobStatus]) -> list[_Family]:
    state = _Family("streamlab_job_state", "gauge", "1 for the state that the job is in, 0 for the others")
    for status in statuses:
        for one in JobState:
            state.add({**_job(status), "state": str(one)}, int(status.state is one))
    figures: list[tuple[str, str, str, Callable[[JobStatus], Number]]] = [
        ("rows_in_total", "counter", "rows read by all sources", lambda s: s.rows_in),
        ("rows_out_total", "counter", "rows written by all sinks", lambda s: s.rows_out),
        ("late_rows_total", "counter", _MEANINGS["late_rows"], lambda s: s.late_rows),
        ("merged_late_rows_total", "counter", _MEANINGS["merged_late_rows"], lambda s: s.merged_late_rows),
        ("dead_letters_total", "counter", _MEANINGS["dead_letters"], lambda s: s.dead_letters),
        ("restarts_total", "counter", "how often it was restarted after a failure", lambda s: s.restarts),
        ("attempt", "gauge", "number of the present attempt", lambda s: s.attempt),
        ("state_bytes", "gauge", _MEANINGS["state_bytes"], lambda s: s.state_bytes),
        ("watermark_timestamp_seconds", "gauge", "lowest watermark of all tasks", lambda s: _instant(s.watermark_us)),
        ("latency_p50_seconds", "gauge", _MEANINGS["latency_p50_ms"], lambda s: _divided(s.latency_p50_ms, 1000)),
        ("latency_p99_seconds", "gauge", _MEANINGS["latency_p99_ms"], lambda s: _divided(s.latency_p99_ms, 1000)),
        ("reported_timestamp_seconds", "gauge", "when these figures were reported", lambda s: s.reported_us / _US),
    ]
    return [state, *_families("streamlab_job_", figures, [(_job(status), status) for status in statuses])]


def _checkpoints(statuses: Sequence[JobStatus]) -> list[_Family]:
    newest = []
    for status in statuses:
        complete = [one for one in status.checkpoints if one.state == "complete"]
        if complete:
            newest.append((_job(status), complete[-1]))
    figures: list[tuple[str, str, str, Callable[[CheckpointStatus], Number]]] = [
        ("id", "gauge", "id of the newest complete checkpoint", lambda c: c.id),
        ("timestamp_seconds", "gauge", "when the newest complete checkpoint was begun", lambda c: c.triggered_us / _US),
        ("duration_seconds", "gauge", "from its trigger to being durable", lambda c: _divided(c.duration_ms, 1000)),
        ("alignment_seconds", "gauge", "longest wait of a task for barriers", lambda c: c.alignment_ms / 1000),
        ("size_bytes", "gauge", "what it holds", lambda c: c.size_bytes),
        ("written_bytes", "gauge", "what was written for it", lambda c: c.new_bytes),
    ]
    return _families("streamlab_checkpoint_", figures, newest)


def _tasks(statuses: Sequence[JobStatus]) -> list[_Family]:
    tasks = [(_task(status, task), task) for status in statuses for task in status.tasks]
    families = []
    for metric in METRICS:
        if metric.kind == "rate" and not metric.name.endswith("_ms_per_s"):
            continue
        name, divisor = _named(metric.name)
        family = _Family(
            f"streamlab_task_{name}{'_total' if metric.kind == 'counter' else ''}",
            "counter" if metric.kind == "counter" else "gauge",
            metric.meaning,
        )
        for labels, task in tasks:
            value = getattr(task, metric.name)
            family.add(labels, _instant(value) if metric.name == "watermark_us" else _divided(value, divisor))
        families.append(family)
    return families


def _splits(statuses: Sequence[JobStatus]) -> list[_Family]:
    splits = [
        ({**_task(status, task), "source": split.step, "split": split.split}, split)
        for status in statuses
        for task in status.tasks
        for split in task.time.splits
    ]
    figures: list[tuple[str, str, str, Callable[[SplitStatus], Number]]] = [
        ("rows_total", "counter", "rows given out", lambda s: s.rows),
        ("watermark_timestamp_seconds", "gauge", "its own watermark", lambda s: _instant(s.watermark_us)),
        ("last_row_timestamp_seconds", "gauge", "when it last gave rows", lambda s: _divided(s.last_row_us, _US)),
        ("idle", "gauge", "1 while it holds no watermark back", lambda s: int(s.idle)),
        ("ended", "gauge", "1 when all of it was read", lambda s: int(s.ended)),
    ]
    return _families("streamlab_split_", figures, splits)


def _families(
    prefix: str,
    figures: Iterable[tuple[str, str, str, Callable[[T], Number]]],
    things: Sequence[tuple[Labels, T]],
) -> list[_Family]:
    families = []
    for name, kind, meaning, value_of in figures:
        family = _Family(prefix + name, kind, meaning)
        for labels, thing in things:
            family.add(labels, value_of(thing))
        families.append(family)
    return families


def _job(status: JobStatus) -> Labels:
    return {"job": status.name, "id": status.id}


def _task(status: JobStatus, task: TaskStatus) -> Labels:
    return {**_job(status), "vertex": task.shown, "subtask": str(task.subtask)}


def _named(name: str) -> tuple[str, float]:
    for ending, (unit, divisor) in _UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending) + unit, divisor
    return name, 1


def _instant(us: int | None) -> Number:
    """Return a time in seconds; None where a watermark stands for the beginning or the end of time."""
    return us / _US if us is not None and MIN_TIME_US < us < MAX_TIME_US else None


def _divided(value: Number, divisor: float) -> Number:
    return value if value is None or divisor == 1 else value / divisor


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(value) if isinstance(value, float) else str(value)
