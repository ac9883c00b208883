"""Points in time as users write them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_US = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class PointInTime:
    """A point in time.

    Attributes
    ----------
    us : int
        Microseconds since 1970, in UTC when it was written without a zone.
    has_zone : bool
        Whether it was written with one.
    """

    us: int
    has_zone: bool


def read_time(value: object) -> PointInTime | None:
    """Return what a datetime, a date or a text in ISO format stands for; None when it is none of these.

    >>> read_time("1970-01-01 00:01"), read_time("1970-01-01T01:00+01:00"), read_time("soon")
    (PointInTime(us=60000000, has_zone=False), PointInTime(us=0, has_zone=True), None)
    """
    try:
        moment = dt.datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        return None
    if isinstance(moment, dt.date) and not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - a day is written without a zone
    if not isinstance(moment, dt.datetime):
        return None
    has_zone = moment.utcoffset() is not None
    us = ((moment if has_zone else moment.replace(tzinfo=dt.UTC)) - _EPOCH) // _US
    # The missing time of pandas calls itself a datetime.
    return PointInTime(us, has_zone) if isinstance(us, int) else None
