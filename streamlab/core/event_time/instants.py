"""The ends of time, and points in time as text: all that a coordinator, which imports no Polars, needs of time."""

from __future__ import annotations

import datetime as dt

MIN_TIME_US = -(2**63)
"""The watermark before any row; also "no watermark yet"."""

MAX_TIME_US = 2**63 - 1
"""The watermark after the end of bounded input: everything fires."""


def show_us(us: int | None) -> str:
    """Return a point in time as text for people: ``2013-01-01 05:00:00``, ``start`` or ``end``."""
    if us is None or us <= MIN_TIME_US + 10**15:
        return "start"
    if us >= MAX_TIME_US - 10**15:
        return "end"
    try:
        return str(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)).removesuffix("+00:00")
    except OverflowError:
        return f"{us} µs"
