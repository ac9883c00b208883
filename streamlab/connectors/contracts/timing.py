"""The keyword arguments about time that every source takes, read and checked."""

from __future__ import annotations

import datetime as dt

import polars as pl

from streamlab.connectors.contracts.source import Timing
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.event_time.time import Duration, is_time

DurationLike = str | dt.timedelta | Duration
Pace = str | float
_TEXT_SCANS = {"scan_csv", "scan_ndjson"}


def timing(
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> Timing:
    """Read what a user says about time.

    Parameters
    ----------
    event_time
        Column with the time at which a row happened.
    watermark
        How far rows may come out of order, such as ``"10s"`` or ``"0s"``.
    idle_timeout
        After how long without rows a split no longer holds the watermark back.
    pace
        ``"max"``, ``"realtime"``, or how many times faster than real time: ``"60x"`` or ``60``. It changes when rows
        come, not which of them are late.
    max_advance
        How far ahead of the latest time so far a row may be before it counts as damaged.

    Raises
    ------
    OptionError
        If one of them cannot be read, or needs `event_time` and there is none.

    Examples
    --------
    >>> timing("t", "10s", pace="60x").pace
    60.0
    """
    factor = pace_factor(pace)
    given = {"watermark": watermark, "max_advance": max_advance, "pace": factor}
    for name, value in given.items():
        if event_time is None and value is not None:
            hint = 'add event_time="column"'
            raise OptionError(explained(name, needed="to know the event time", got="no event_time=", hint=hint))
    return Timing(
        event_time,
        _duration(watermark, "watermark", least=0),
        _duration(idle_timeout, "idle_timeout", least=1),
        factor,
        _duration(max_advance, "max_advance", least=1),
    )


def check_timing(step: str, schema: pl.Schema, timing: Timing) -> None:
    """Check that the event-time column is there and is a time.

    Raises
    ------
    PlanError
        If it is missing or its dtype is no time.
    """
    column = timing.event_time
    if column is None:
        return
    if column not in schema:
        times = [name for name, dtype in schema.items() if is_time(dtype)]
        hint = f"the time columns are {', '.join(times)}" if times else ""
        got = f"{column!r}; the columns are {', '.join(schema) or 'none'}"
        raise PlanError(explained(step, needed="event_time to be one of its columns", got=got, hint=hint))
    if not is_time(schema[column]):
        hint = _hint_for(step, column, schema[column])
        got = f"{column!r} of type {schema[column]}"
        raise PlanError(explained(step, needed="event_time to be a Datetime or Date column", got=got, hint=hint))


def _hint_for(step: str, column: str, dtype: pl.DataType) -> str:
    """Return how to make a time of a column that is none."""
    if dtype.is_numeric():
        made, form = f"pl.from_epoch({column!r}, time_unit='s')", "'s'"
    else:
        form = "'%d.%m.%Y %H:%M'"
        made = f"pl.col({column!r}).str.to_datetime({form})" if dtype == pl.String else "…"
    known = f"event_time_format={form} or the like says how it is written; or " if step in _TEXT_SCANS else ""
    return f"{known}leave event_time out, then .with_columns({made}).with_watermark({column!r}, '10s')"


def _duration(value: DurationLike | None, name: str, *, least: int) -> Duration | None:
    if value is None:
        return None
    duration = Duration.parse(value, name=name)
    if duration.fixed_us(name) < least:
        needed = "a duration of zero or more" if least == 0 else "a duration above zero"
        raise OptionError(explained(name, needed=needed, got=repr(str(duration))))
    return duration


def pace_factor(pace: Pace) -> float | None:
    """Return how many times faster than they happened rows are given out; None: as fast as it goes."""
    """Return how many times faster than they happened rows are given out; None: as fast as it goes."""
    words: dict[Pace, float | None] = {"max": None, "realtime": 1.0}
    if isinstance(pace, str) and pace in words:
        return words[pace]
    try:
        factor = float(pace.removesuffix("x")) if isinstance(pace, str) else float(pace)
    except (TypeError, ValueError):
        factor = 0.0
    if isinstance(pace, bool) or not 0 < factor < float("inf"):
        needed = "'max', 'realtime' or a factor above zero such as '60x'"
        raise OptionError(explained("pace", needed=needed, got=repr(pace)))
    return factor
