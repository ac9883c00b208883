"""A job's figures over time, as the lines of charts: read as they come, thinned to what a chart can show.

Samples come twice a second, a panel is drawn five times a second, and a line has some hundred points: of each sample
is kept what charts show, as plain numbers, and lines are made anew only when there are new samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple, Protocol

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.notebook.charts.svg import Line
from streamlab.notebook.panel.course_lines import by_age, distinct, few, highest, unit_of
from streamlab.observe.clock import clock_ms, zone
from streamlab.observe.history import SAMPLE_EVERY_US, ArrivalSample, Sample, TaskSample, thinned
from streamlab.observe.preview import plain

KEPT_TIMES = 1_200
"""Moments that are kept; twice a second, these are ten minutes."""
MOST_POINTS = 300
"""Points of a line that are drawn, and its newest one."""
SAMPLES = ("rows", "late, set aside", "late, merged")
"""What the labels of the groups of points begin with."""
OLD_MS = 30 * 86_400_000
"""A stream that is further behind the clock is a replay of the past, whose lag says nothing."""
_MARKS, _LATE_MARKS, _OLD_MARKS = 6, 10, 2
"""Rows that are drawn of an interval: those on time, late ones, and of each kind when it was some time ago."""
_versions = count(1)


class Feed(Protocol):
    """Gives what is new of a history."""

    def read_samples(self) -> Sequence[Sample]:
        """Return what was not read before."""
        ...


class VertexFigures(NamedTuple):
    """Figures of a vertex at one moment, its subtasks taken together; None is what is not known."""

    watermark_ms: float | None
    lag_ms: float | None
    batch_duration_ms: float | None
    queued_batches: float
    state_bytes: float


class Spent(NamedTuple):
    """How long the subtasks of a vertex were at work, held up and without work, in a unit of its own."""

    busy: float
    waiting: float
    idle: float


class _Moment(NamedTuple):
    at_ms: float
    rows_in_per_s: float
    rows_out_per_s: float
    watermark_ms: float | None
    vertices: dict[str, VertexFigures]
    splits: dict[str, float | None]


class ChartLines(NamedTuple):
    """What a chart shows, and what stands at its ordinate when that depends on the data."""

    lines: Sequence[Line]
    y_label: str = ""


class _RowTime(NamedTuple):
    """Event time of a row, and the watermark that it was judged by, in ms since 1970."""

    ms: float
    watermark_ms: float | None


@dataclass(frozen=True)
class _Arrivals:
    """Times of the rows that came to a step within an interval.

    Attributes
    ----------
    until_ms : float
        Wall clock at its end.
    groups : tuple
        A sample of the rows, of the late ones that were set aside, and of those that were merged.
    """

    until_ms: float
    groups: tuple[tuple[_RowTime, ...], ...]


class Course:
    """What has been read of a job's history.

    Parameters
    ----------
    feed
        Where it is read from.
    """

    def __init__(self, feed: Feed) -> None:
        self.version = next(_versions)
        """Another number whenever there is something new, and for each course."""
        self.spent: dict[str, Spent] = {}
        """How each vertex has spent its time so far."""
        self._feed = feed
        self._moments: deque[_Moment] = deque(maxlen=KEPT_TIMES)
        self._count = 0
        """Moments that there have been."""
        self._newest: Sample | None = None
        self._arrivals: deque[_Arrivals] = deque(maxlen=KEPT_TIMES)
        self._intervals = 0
        """Intervals that there have been."""

    def read(self) -> None:
        """Take what is new."""
        new = self._feed.read_samples()
        if not new:
            return
        self.version = next(_versions)
        self._count += len(new)
        for sample in new:
            self._moments.append(_moment(sample, self._newest))
            newest_us = 0 if self._newest is None else self._newest.at_us
            self._add_spent(sample, sample.at_us - max(newest_us, sample.from_us - SAMPLE_EVERY_US))
            self._newest = sample
            self._arrivals += map(_arrived, sorted(sample.arrivals, key=lambda one: one.until_us))
            self._intervals += len(sample.arrivals)

    def _add_spent(self, sample: Sample, us: int) -> None:
        """Add what the subtasks have done in so much time, as far as they have told."""
        for task in sample.tasks:
            told = (task.busy_ms_per_s, task.backpressured_ms_per_s, task.idle_ms_per_s)
            known = self.spent.get(task.vertex, Spent(0.0, 0.0, 0.0))
            self.spent[task.vertex] = Spent(*(old + ms * us for old, ms in zip(known, told, strict=True)))

    def zones(self) -> str:
        """Return in words in which time zones the lines are; empty when there are none."""
        return "" if self._newest is None else f"event times in UTC, clock times in {zone(self._newest.at_us)}"

    def watermarks(self) -> list[Line]:
        """Return the watermark of each vertex, and of each split when there are several; of many the lowest.

        Nothing when all go together: then the staircase of the arrivals shows all there is.
        """
        lines = self._per_vertex(lambda figures: figures.watermark_ms)
        splits = self._per(lambda moment: moment.splits.items())
        drawn = few([*lines, *splits] if len(splits) > 1 else lines, lambda line: line.y[-1])
        return [replace(line, is_steps=True) for line in drawn] if len(drawn) > 1 else []

    def lags(self) -> ChartLines:
        """Return by how much the watermark of each vertex is behind the wall clock; nothing for old data."""
        lines = self._per_vertex(lambda figures: figures.lag_ms)
        newest = max(lines, key=lambda line: line.x[-1], default=None)
        if newest is None or newest.y[-1] >= OLD_MS:
            return ChartLines([])
        unit, ms = unit_of(y for line in lines for y in line.y)
        scaled = [replace(line, y=[y / ms for y in line.y]) for line in lines]
        return ChartLines(few(scaled, highest), f"{unit} behind the clock")

    def arrivals(self) -> list[Line]:
        """Return event times over processing time: the watermark as a staircase, a sample of the rows, late ones."""
        if not self._arrivals:
            return []
        moments = [one for one in self._thinned(self._moments) if one.watermark_ms is not None]
        marks = Line("watermark", [one.at_ms for one in moments], [one.watermark_ms or 0.0 for one in moments])
        groups = [
            _points(label, ((at_ms, row.ms) for at_ms, row in self._marks(place)))
            for place, label in enumerate(SAMPLES)
        ]
        return [replace(marks, is_steps=True), *groups] if moments else groups

    def ahead(self) -> ChartLines:
        """Return by how much sampled rows were ahead of the watermark that judged them, late ones behind it."""
        groups = [
            [(at_ms, row.ms - row.watermark_ms) for at_ms, row in self._marks(place) if row.watermark_ms is not None]
            for place in range(len(SAMPLES))
        ]
        times = [x for group in groups for x, _ in group]
        if not times:
            return ChartLines([])
        unit, ms = unit_of(y for group in groups for _, y in group)
        points = [_points(label, ((x, y / ms) for x, y in group)) for label, group in zip(SAMPLES, groups, strict=True)]
        zero = Line("watermark", [min(times), max(times)], [0.0, 0.0])
        return ChartLines([zero, *points], f"{unit} ahead")

    def rates(self) -> list[Line]:
        """Return the rows that are read and written per second."""
        chosen = self._thinned(self._moments)
        x = [moment.at_ms for moment in chosen]
        if not chosen:
            return []
        return distinct(
            [
                Line("rows in/s", x, [moment.rows_in_per_s for moment in chosen]),
                Line("rows out/s", x, [moment.rows_out_per_s for moment in chosen]),
            ]
        )

    def of_vertices(self, figure: Callable[[VertexFigures], float | None]) -> list[Line]:
        """Return a figure of each vertex; of many those where it is highest."""
        return few(self._per_vertex(figure), highest)

    def _per_vertex(self, figure: Callable[[VertexFigures], float | None]) -> list[Line]:
        return self._per(lambda moment: ((name, figure(figures)) for name, figures in moment.vertices.items()))

    def _per(self, values: Callable[[_Moment], Iterable[tuple[str, float | None]]]) -> list[Line]:
        """Return a line for each name, of the moments at which its value is known."""
        if not self._moments:
            return []
        # In the order that they have in every chart, so that they have the same colours.
        lines = {name: Line(plain(name), [], []) for name, _ in values(self._moments[-1])}
        for moment in self._thinned(self._moments):
            for name, value in values(moment):
                if value is not None:
                    line = lines.setdefault(name, Line(plain(name), [], []))
                    line.x.append(moment.at_ms)
                    line.y.append(value)
        return [line for line in lines.values() if line.x]

    def _thinned(self, moments: Sequence[_Moment]) -> list[_Moment]:
        """Return the newest moments, and so many of the older ones that a chart can show them."""
        old, recent = by_age(moments, self._count)
        return [*old, *recent]

    def _marks(self, place: int) -> Iterator[tuple[float, _RowTime]]:
        """Yield the rows of one group that are drawn, each with the end of its interval."""
        old, recent = by_age(self._arrivals, self._intervals)
        for one in old:
            yield from ((one.until_ms, row) for row in thinned(one.groups[place], _OLD_MARKS))
        for one in recent:
            yield from ((one.until_ms, row) for row in one.groups[place])


def _moment(sample: Sample, before: Sample | None) -> _Moment:
    """Return what charts show of a sample; rates are those since the one before, so that they agree with the counts."""
    tasks: dict[str, list[TaskSample]] = {}
    for task in sample.tasks:
        tasks.setdefault(task.vertex, []).append(task)
    rates = float(sample.rows_in_per_s), float(sample.rows_out_per_s)
    if before is not None and before.attempt == sample.attempt and before.at_us < sample.at_us:
        passed_s = (sample.at_us - before.at_us) / 1e6
        counts = (sample.rows_in - before.rows_in, sample.rows_out - before.rows_out)
        rates = max(counts[0], 0) / passed_s, max(counts[1], 0) / passed_s
    return _Moment(
        clock_ms(sample.at_us),
        *rates,
        _time_ms(sample.watermark_us),
        {vertex: _together(subtasks) for vertex, subtasks in tasks.items()},
        {split.split: _time_ms(split.watermark_us) for split in sample.splits},
    )


def _together(tasks: Sequence[TaskSample]) -> VertexFigures:
    marks = [ms for task in tasks if (ms := _time_ms(task.watermark_us)) is not None]
    return VertexFigures(
        min(marks, default=None),
        max((float(task.lag_ms) for task in tasks if task.lag_ms is not None), default=None),
        max((task.batch_duration_ms for task in tasks if task.batch_duration_ms is not None), default=None),
        float(sum(task.queued_batches for task in tasks)),
        float(sum(task.state_bytes for task in tasks)),
    )


def _arrived(arrival: ArrivalSample) -> _Arrivals:
    samples = (
        (arrival.sample_us, arrival.sample_watermark_us),
        (arrival.late_sample_us, arrival.late_watermark_us),
        (arrival.merged_sample_us, arrival.merged_watermark_us),
    )
    rows, late, merged = (
        [_RowTime(us / 1000, _time_ms(mark)) for us, mark in zip(times, marks or [None] * len(times), strict=True)]
        for times, marks in samples
    )
    groups = (thinned(rows, _MARKS), thinned(late, _LATE_MARKS), thinned(merged, _LATE_MARKS))
    return _Arrivals(clock_ms(arrival.until_us), groups)


def _time_ms(us: int | None) -> float | None:
    return us / 1000 if us is not None and MIN_TIME_US < us < MAX_TIME_US else None


def _points(label: str, points: Iterable[tuple[float, float]]) -> Line:
    drawn = list(points)
    return Line(label, [x for x, _ in drawn], [y for _, y in drawn], is_points=True)
