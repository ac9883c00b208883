"""Lengths of time as plans write them."""

from __future__ import annotations

from streamlab.core.event_time.time import Duration


def length_text(duration: Duration) -> str:
    """Return a duration as it was written; one that was a timedelta in a unit that can be read.

    >>> import datetime as dt
    >>> length_text(Duration.parse("90s")), length_text(Duration.parse(dt.timedelta(minutes=2)))
    ('90s', '2m')
    """
    return span_text(duration.us) if duration.us is not None and duration.text == f"{duration.us}us" else duration.text


def span_text(us: int) -> str:
    """Return a length of time in the largest unit that fits.

    >>> span_text(90_000_000), span_text(60_000_000), span_text(5)
    ('90s', '1m', '5us')
    """
    for unit, length in (
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
    ):
        if us % length == 0:
            return f"{us // length}{unit}"
    return f"{us}us"
