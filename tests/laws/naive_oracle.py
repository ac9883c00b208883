"""What a query must give, by the plainest means: Polars for whole frames, and windows assigned row by row in Python.

Nothing of streamlab's own is used, so it is slow and shares no mistake with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streamlab.testing.strategies import Query

_WINDOWS = ("group_by_dynamic", "group_by_session", "group_by_cumulative")
_UNITS = {"us": 1, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
Span = tuple[int, int]


@dataclass
class _Recorder:
    """Stands in for the frame at the end of a query and notes which windows and aggregates are asked for."""

    frame: pl.DataFrame
    kind: str = ""
    column: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    aggregates: tuple[pl.Expr, ...] = ()

    def _windows(self, kind: str, column: str, arguments: dict[str, Any]) -> _Recorder:
        self.kind, self.column, self.arguments = kind, column, arguments
        return self

    def filter(self, predicate: pl.Expr) -> _Recorder:
        self.frame = self.frame.filter(predicate)
        return self

    def group_by_dynamic(self, column: str, **arguments: Any) -> _Recorder:
        return self._windows("dynamic", column, arguments)

    def group_by_session(self, column: str, **arguments: Any) -> _Recorder:
        return self._windows("session", column, arguments)

    def group_by_cumulative(self, column: str, **arguments: Any) -> _Recorder:
        return self._windows("cumulative", column, arguments)

    def agg(self, *aggregates: pl.Expr) -> _Recorder:
        self.aggregates = aggregates
        return self


def expected(query: Query, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table that the query gives on all rows at once."""
    for step in query.steps:
        if any(word in step.text for word in _WINDOWS):
            recorder = _Recorder(frame)
            step.apply(recorder)
            frame = _windowed(recorder.frame, recorder)
        else:
            frame = step.apply(frame.lazy()).collect()
    return frame


def _windowed(frame: pl.DataFrame, asked: _Recorder) -> pl.DataFrame:
    group_by = asked.arguments.get("group_by") or []
    keys = [group_by] if isinstance(group_by, str) else list(group_by)
    column, dtype = asked.column, frame.schema[asked.column]
    times = frame[column].dt.epoch("us").to_list()
    if asked.kind == "session":
        names = frame.select(keys).rows() if keys else [()] * frame.height
        spans = _sessions(times, names, _us(asked.arguments["gap"]))
    else:
        spans = [_windows(time, asked) for time in times]
    rows = frame.with_columns(
        pl.Series("__sl_start", [[s for s, _ in each] for each in spans], pl.List(pl.Int64)),
        pl.Series("__sl_end", [[e for _, e in each] for each in spans], pl.List(pl.Int64)),
    ).explode("__sl_start", "__sl_end", keep_nulls=False, empty_as_null=False)
    edges = [
        pl.col("__sl_start").cast(pl.Datetime("us")).cast(dtype),
        pl.col("__sl_end").cast(pl.Datetime("us")).cast(dtype),
    ]
    found = rows.group_by(*keys, "__sl_start", "__sl_end", maintain_order=True).agg(*asked.aggregates)
    bounds = [edges[0].alias("_lower_boundary"), edges[1].alias("_upper_boundary")]
    shown = bounds if asked.arguments.get("include_boundaries") else []
    return found.select(*keys, *shown, edges[0].alias(column), pl.exclude(*keys, "__sl_start", "__sl_end"))


def _us(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"(\d+)([a-z]+)", text)
    return sign * sum(int(number) * _UNITS[unit] for number, unit in parts)


def _windows(time: int, asked: _Recorder) -> list[Span]:
    every = _us(asked.arguments["every"])
    offset = _us(asked.arguments.get("offset") or "0s")
    start = (time - offset) // every * every + offset
    if asked.kind == "cumulative":
        step = _us(asked.arguments["step"])
        return [(start, end) for end in range(start + step, start + every + 1, step) if end > time]
    period = _us(asked.arguments["period"]) if asked.arguments.get("period") else every
    found = []
    while start + period > time:
        found.append((start, start + period))
        start -= every
    return found


def _sessions(times: list[int], keys: list[tuple[Any, ...]], gap: int) -> list[list[Span]]:
    of_key: dict[tuple[Any, ...], list[Span]] = {}
    for time, key in sorted(zip(times, keys, strict=True), key=lambda pair: pair[0]):
        sessions = of_key.setdefault(key, [])
        if sessions and time <= sessions[-1][1]:
            sessions[-1] = (sessions[-1][0], time + gap)
        else:
            sessions.append((time, time + gap))
    return [
        [next(span for span in of_key[key] if span[0] <= time < span[1])] for time, key in zip(times, keys, strict=True)
    ]
