"""A job's figures over time, as the lines of charts: read as they come, thinned to what a chart can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import polars as pl

from streamlab.notebook.svg import Line
from streamlab.notebook.wire import Binary
from streamlab.observe.history_frames import HistoryFrames
from streamlab.observe.preview import plain

KEPT_TIMES = 1_200
"""Moments that are kept; twice a second, these are ten minutes."""
MOST_POINTS = 240
"""Points of a line that are drawn."""
_OLD_MS = 30 * 86_400_000
"""A stream that is further behind the clock is a replay of the past, whose lag says nothing."""
_MOST_MARKS = 1_500
_MOST_SPLITS = 6
_SAMPLES = (("rows", "sample"), ("late, dropped", "late_sample"), ("late, merged", "merged_sample"))
"""Names of the groups of points, and the columns that they are in."""
_STYLES = {"rows": (0, "circle", 4), "late, dropped": (5, "x", 8), "late, merged": (1, "triangle", 8)}
_SKEW_TIMES = 60
"""Intervals whose rows are shown."""
_UNITS = (("days", 86_400_000.0), ("hours", 3_600_000.0), ("minutes", 60_000.0), ("seconds", 1000.0))


class Feed(Protocol):
    """Gives what is new of a history."""

    def read_new(self) -> HistoryFrames:
        """Return what was not read before."""
        ...


class Course:
    """What has been read of a job's history.

    Parameters
    ----------
    feed
        Where it is read from.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._job: pl.DataFrame | None = None
        self._vertices: pl.DataFrame | None = None
        self._splits: pl.DataFrame | None = None
        self._arrivals: pl.DataFrame | None = None

    def read(self) -> None:
        """Take what is new."""
        new = self._feed.read_new()
        self._job = _longer(self._job, new.job)
        self._splits = _longer(self._splits, new.splits)
        self._arrivals = _longer(self._arrivals, new.arrivals)
        self._vertices = _longer(self._vertices, _by_vertex(new.tasks))

    def watermarks(self) -> list[Line]:
        """Return the watermark of each vertex, and of each split when there are several."""
        lines = _per(self._vertices, "vertex", _ms("watermark"))
        splits = _per(self._splits, "split", _ms("watermark"))
        return [*lines, *splits[:_MOST_SPLITS]] if len(splits) > 1 else lines

    def lags(self) -> list[Line]:
        """Return by how many seconds the watermark of each vertex is behind the wall clock; nothing for old data."""
        if self._vertices is None:
            return []
        newest = self._vertices["lag_ms"].drop_nulls().tail(1).to_list()
        if not newest or newest[0] >= _OLD_MS:
            return []
        return _per(self._vertices, "vertex", pl.col("lag_ms") / 1000)

    def arrivals(self) -> list[Line]:
        """Return event times over processing time: the watermark as a staircase, a sample of the rows, late ones.

        Of the last seconds only: of a long time one would see a straight line.
        """
        newest = self._newest_arrivals()
        if newest is None or self._job is None:
            return []
        job = self._job.filter(pl.col("at") >= newest["at"].min())
        marks = job.select(x=_ms("at"), y=_ms("watermark")).drop_nulls()
        lines = [_staircase(marks)] if marks.height else []
        return [*lines, *(_marks(newest, label, column, _ms(column)) for label, column in _SAMPLES)]

    def ahead(self) -> list[Line]:
        """Return by how much sampled rows were ahead of the watermark, late ones behind it, in a unit that fits."""
        newest = self._newest_arrivals()
        newest = None if newest is None else newest.drop_nulls("watermark")
        if newest is None or newest.is_empty():
            return []
        # Of an interval only its last watermark is known: rows came after the one before it, late ones before it.
        newest = newest.with_columns(pl.col("watermark").shift(1).over("vertex", "subtask", "step").alias("before"))
        against = {"sample": "before"}
        groups = [
            _marks(newest.drop_nulls("before"), label, column, _ms(column) - _ms(against.get(column, "watermark")))
            for label, column in _SAMPLES
        ]
        largest = max((abs(y) for group in groups for y in group.y), default=0.0)
        unit, ms = next((one for one in _UNITS if largest >= 2 * one[1]), _UNITS[-1])
        times = newest.select(_ms("at")).to_series().sort().to_list()
        zero = Line("watermark", [times[0], times[-1]], [0.0, 0.0])
        scaled = [Line(f"{one.label}, {unit}", one.x, [y / ms for y in one.y], is_points=True) for one in groups]
        return [zero, *scaled]

    def _newest_arrivals(self) -> pl.DataFrame | None:
        if self._arrivals is None or self._arrivals.is_empty():
            return None
        times = self._arrivals["at"].unique().sort(descending=True)
        return self._arrivals.filter(pl.col("at") >= times[min(_SKEW_TIMES, times.len()) - 1])

    def rates(self) -> list[Line]:
        """Return the rows that are read and written per second."""
        return [*_one(self._job, "rows in/s", "rows_in_per_s"), *_one(self._job, "rows out/s", "rows_out_per_s")]

    def of_vertices(self, column: str, factor: float = 1.0) -> list[Line]:
        """Return a figure of each vertex."""
        return _per(self._vertices, "vertex", pl.col(column) * factor)


def packed_lines(lines: Sequence[Line], binary: Binary) -> dict[str, Any]:
    """Return lines and points as the front end takes them."""
    packed: dict[str, Any] = {"lines": [], "points": []}
    for place, line in enumerate(lines):
        one = {"label": line.label, "style": place, "x": binary.numbers(line.x), "y": binary.numbers(line.y)}
        if not line.is_points:
            packed["lines"].append({**one, "style": 2} if line.label == "watermark" else one)
        elif line.x:
            name = next(name for name in _STYLES if line.label.startswith(name))
            packed["points"].append({**one, **dict(zip(("style", "marker", "size"), _STYLES[name], strict=True))})
    return packed


def _longer(known: pl.DataFrame | None, new: pl.DataFrame) -> pl.DataFrame:
    if known is None or known.is_empty():
        return new
    if new.is_empty():
        return known
    both = pl.concat([known, new], how="vertical_relaxed")
    since = both["at"].unique().sort(descending=True).head(KEPT_TIMES).min()
    return both.filter(pl.col("at") >= since)


def _by_vertex(tasks: pl.DataFrame) -> pl.DataFrame:
    """Return one row per time and vertex, its subtasks taken together."""
    together = {
        pl.min: ("watermark",),
        pl.max: ("lag_ms", "batch_duration_ms"),
        pl.sum: ("queued_batches", "state_bytes"),
    }
    figures = [take(name) for take, names in together.items() for name in names]
    return tasks.group_by("at", "vertex", maintain_order=True).agg(figures)


def _ms(name: str) -> pl.Expr:
    return pl.col(name).dt.epoch("us") / 1000


def _per(frame: pl.DataFrame | None, by: str, value: pl.Expr) -> list[Line]:
    if frame is None or frame.is_empty():
        return []
    points = frame.select(by=by, x=_ms("at"), y=value.cast(pl.Float64)).drop_nulls("y")
    names = points["by"].unique(maintain_order=True).to_list()
    return [_line(plain(name), points.filter(pl.col("by") == name)) for name in names]


def _one(frame: pl.DataFrame | None, label: str, column: str) -> list[Line]:
    if frame is None or frame.is_empty():
        return []
    return [_line(label, frame.select(x=_ms("at"), y=pl.col(column).cast(pl.Float64)).drop_nulls())]


def _line(label: str, points: pl.DataFrame) -> Line:
    thin = _thinned(points)
    return Line(label, thin["x"].to_list(), thin["y"].to_list())


def _marks(arrivals: pl.DataFrame, label: str, column: str, y: pl.Expr) -> Line:
    """Return the sampled event times of a column as points."""
    one = arrivals.select("at", "^watermark|before$", column).explode(column, empty_as_null=False).drop_nulls(column)
    points = one.select(x=_ms("at"), y=y).tail(_MOST_MARKS)
    return Line(label, points["x"].to_list(), points["y"].to_list(), is_points=True)


def _staircase(points: pl.DataFrame) -> Line:
    """Return a line that stays where it is until it rises."""
    thin = _thinned(points)
    x, y = thin["x"].to_list(), thin["y"].to_list()
    steps = [(x[0], y[0])]
    for at in range(1, len(x)):
        steps += [(x[at], y[at - 1]), (x[at], y[at])]
    return Line("watermark", [one[0] for one in steps], [one[1] for one in steps])


def _thinned(points: pl.DataFrame) -> pl.DataFrame:
    """Return so many points that a chart can show them, the last one always among them."""
    every = -(-points.height // MOST_POINTS)
    if every <= 1:
        return points
    return points.reverse().gather_every(every).reverse()
