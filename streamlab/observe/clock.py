"""The clock on the wall as people here read it, in the zone of this machine, which is always named.

Event times are another matter: they are data, and shown in UTC wherever a job tells of them.
"""

from __future__ import annotations

import datetime as dt


def clock(us: int, *, with_day: bool = True) -> str:
    """Return a moment of the wall clock, to the second, such as ``2026-01-31 15:04:05 CET``."""
    return f"{_here(us):{'%Y-%m-%d ' if with_day else ''}%H:%M:%S} {zone(us)}"


def zone(us: int) -> str:
    """Return what the zone of this machine is called at a moment: ``UTC``, ``CET``, ``UTC+0545``."""
    name = _here(us).tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def clock_ms(us: int) -> float:
    """Return a moment as the milliseconds that a chart is given, which knows of no zones."""
    return us / 1000 + (_here(us).utcoffset() or dt.timedelta()) / dt.timedelta(milliseconds=1)


def _here(us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(us / 1e6, tz=dt.UTC).astimezone()
