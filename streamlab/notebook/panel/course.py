"""A job's figures over time, as the lines of charts: read as they come, thinned to what a chart can show.

Samples come twice a second, a panel is drawn five times a second, and a line has some hundred points: of each sample
is kept what charts show, as plain numbers, and lines are made anew only when there are new samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol

from streamlab.core.time import MAX_TIME_US, MIN_TIME_US
from streamlab.notebook.svg import Line
from streamlab.observe.clock import clock_ms, zone
from streamlab.observe.history import ArrivalSample, Sample, TaskSample
from streamlab.observe.preview import plain

KEPT_TIMES = 1_200
"""Moments that are kept; twice a second, these are ten minutes."""
MOST_POINTS = 300
"""Points of a line that are drawn, and its newest one."""
SAMPLES = ("rows", "late, set aside", "late, merged")
"""What the labels of the groups of points begin with."""
OLD_MS = 30 * 86_400_000
"""A stream that is further behind the clock is a replay of the past, whose lag says nothing."""
_MOST_MARKS = 1_500
_MOST_LINES = 8
"""Lines that can be told apart: there are as many colours and dashes."""
_SKEW_TIMES = 60
"""Intervals whose rows are shown."""
_UNITS = (("days", 86_400_000.0), ("hours", 3_600_000.0), ("minutes", 60_000.0), ("seconds", 1000.0))
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


class _Moment(NamedTuple):
    at_ms: float
    rows_in_per_s: float
    rows_out_per_s: float
    watermark_ms: float | None
    vertices: dict[str, VertexFigures]
    splits: dict[str, float | None]


@dataclass(frozen=True)
class _Arrivals:
    """Event times of the rows that came to a step within an interval, in ms since 1970.

    Attributes
    ----------
    until_ms : float
        Wall clock at its end.
    watermark_ms, before_ms : float | None
        The step's watermark at its end, and at the end of the interval before it.
    groups : tuple
        A sample of the rows, of the late ones that were set aside, and of those that were merged.
    """

    until_ms: float
    watermark_ms: float | None
    before_ms: float | None
    groups: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


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
        self._feed = feed
        self._moments: deque[_Moment] = deque(maxlen=KEPT_TIMES)
        self._count = 0
        """Moments that there have been."""
        self._newest_us = 0
        self._arrivals: list[_Arrivals] = []
        self._newest_marks: dict[tuple[str, int, str], float] = {}
        """The watermark of each subtask of a step at the end of its newest interval."""

    def read(self) -> None:
        """Take what is new."""
        new = self._feed.read_samples()
        if not new:
            return
        self.version = next(_versions)
        self._moments += map(_moment, new)
        self._count += len(new)
        self._newest_us = new[-1].at_us
        for sample in new:
            self._arrivals += [self._taken(one) for one in sorted(sample.arrivals, key=lambda one: one.until_us)]
        times = sorted({one.until_ms for one in self._arrivals})[-_SKEW_TIMES:]
        self._arrivals = [one for one in self._arrivals if one.until_ms >= times[0]]

    def zones(self) -> str:
        """Return in words in which time zones the lines are; empty when there are none."""
        return f"event times in UTC, clock times in {zone(self._newest_us)}" if self._newest_us else ""

    def watermarks(self) -> list[Line]:
        """Return the watermark of each vertex, and of each split when there are several; of many the lowest."""
        lines = self._per_vertex(lambda figures: figures.watermark_ms)
        splits = self._per(lambda moment: moment.splits.items())
        return _few([*lines, *splits] if len(splits) > 1 else lines, lambda line: line.y[-1])

    def lags(self) -> list[Line]:
        """Return by how many seconds the watermark of each vertex is behind the wall clock; nothing for old data."""
        lines = self._per_vertex(lambda figures: None if figures.lag_ms is None else figures.lag_ms / 1000)
        newest = max(lines, key=lambda line: line.x[-1], default=None)
        return [] if newest is None or newest.y[-1] * 1000 >= OLD_MS else _few(lines, _highest)

    def arrivals(self) -> list[Line]:
        """Return event times over processing time: the watermark as a staircase, a sample of the rows, late ones.

        Of the last seconds only: of a long time one would see a straight line.
        """
        if not self._arrivals:
            return []
        since = min(one.until_ms for one in self._arrivals)
        newest = self._thinned([moment for moment in self._moments if moment.at_ms >= since])
        marks = [(moment.at_ms, moment.watermark_ms) for moment in newest if moment.watermark_ms is not None]
        groups = [
            _points(label, ((one.until_ms, time_ms) for one in self._arrivals for time_ms in one.groups[place]))
            for place, label in enumerate(SAMPLES)
        ]
        return [_staircase(marks), *groups] if marks else groups

    def ahead(self) -> list[Line]:
        """Return by how much sampled rows were ahead of the watermark, late ones behind it, in a unit that fits."""
        known = [one for one in self._arrivals if one.watermark_ms is not None]
        if not known:
            return []
        # Of an interval only its last watermark is known: rows came after the one before it, late ones before it.
        groups = [
            [
                (one.until_ms, time_ms - against)
                for one in known
                if (against := one.watermark_ms if place else one.before_ms) is not None
                for time_ms in one.groups[place]
            ]
            for place in range(len(SAMPLES))
        ]
        largest = max((abs(y) for group in groups for _, y in group), default=0.0)
        unit, ms = next((one for one in _UNITS if largest >= 2 * one[1]), _UNITS[-1])
        times = [one.until_ms for one in known]
        zero = Line("watermark", [min(times), max(times)], [0.0, 0.0])
        return [
            zero,
            *(
                _points(f"{label}, {unit}", ((x, y / ms) for x, y in group))
                for label, group in zip(SAMPLES, groups, strict=True)
            ),
        ]

    def rates(self) -> list[Line]:
        """Return the rows that are read and written per second."""
        chosen = self._thinned(self._moments)
        x = [moment.at_ms for moment in chosen]
        if not chosen:
            return []
        return [
            Line("rows in/s", x, [moment.rows_in_per_s for moment in chosen]),
            Line("rows out/s", x, [moment.rows_out_per_s for moment in chosen]),
        ]

    def of_vertices(self, figure: Callable[[VertexFigures], float | None]) -> list[Line]:
        """Return a figure of each vertex; of many those where it is highest."""
        return _few(self._per_vertex(figure), _highest)

    def _per_vertex(self, figure: Callable[[VertexFigures], float | None]) -> list[Line]:
        return self._per(lambda moment: ((name, figure(figures)) for name, figures in moment.vertices.items()))

    def _per(self, values: Callable[[_Moment], Iterable[tuple[str, float | None]]]) -> list[Line]:
        """Return a line for each name, of the moments at which its value is known."""
        lines: dict[str, Line] = {}
        for moment in self._thinned(self._moments):
            for name, value in values(moment):
                if value is not None:
                    line = lines.setdefault(name, Line(plain(name), [], []))
                    line.x.append(moment.at_ms)
                    line.y.append(value)
        return list(lines.values())

    def _thinned(self, newest: Sequence[_Moment]) -> list[_Moment]:
        """Return so many of the newest moments that a chart can show them, the last one always among them.

        Those that are chosen stay so while new ones come, until they are too many, so that few points change.
        """
        every = 1
        while len(newest) > MOST_POINTS * every:
            every *= 2
        first = self._count - len(newest)
        chosen = list(newest)[-first % every :: every]
        if chosen and chosen[-1] is not newest[-1]:
            chosen.append(newest[-1])
        return chosen

    def _taken(self, arrival: ArrivalSample) -> _Arrivals:
        step = (arrival.vertex, arrival.subtask, arrival.step)
        before, now = self._newest_marks.get(step), _time_ms(arrival.watermark_us)
        if now is not None:
            self._newest_marks[step] = now
        samples = (arrival.sample_us, arrival.late_sample_us, arrival.merged_sample_us)
        rows, late, merged = (tuple(us / 1000 for us in times) for times in samples)
        return _Arrivals(clock_ms(arrival.until_us), now, before, (rows, late, merged))


def _moment(sample: Sample) -> _Moment:
    tasks: dict[str, list[TaskSample]] = {}
    for task in sample.tasks:
        tasks.setdefault(task.vertex, []).append(task)
    return _Moment(
        clock_ms(sample.at_us),
        float(sample.rows_in_per_s),
        float(sample.rows_out_per_s),
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


def _few(lines: list[Line], rank: Callable[[Line], float]) -> list[Line]:
    """Return the lines that come first by rank, in the order that they have, and how many more there are."""
    if len(lines) <= _MOST_LINES:
        return lines
    chosen = {line.label for line in sorted(lines, key=rank)[:_MOST_LINES]}
    return [*(line for line in lines if line.label in chosen), Line(f"and {len(lines) - len(chosen)} more", [], [])]


def _highest(line: Line) -> float:
    return -max(line.y)


def _time_ms(us: int | None) -> float | None:
    return us / 1000 if us is not None and MIN_TIME_US < us < MAX_TIME_US else None


def _points(label: str, points: Iterable[tuple[float, float]]) -> Line:
    newest = deque(points, maxlen=_MOST_MARKS)
    return Line(label, [x for x, _ in newest], [y for _, y in newest], is_points=True)


def _staircase(points: Sequence[tuple[float, float]]) -> Line:
    """Return a line that stays where it is until it rises."""
    steps = [points[0]]
    for x, y in points[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return Line("watermark", [x for x, _ in steps], [y for _, y in steps])
