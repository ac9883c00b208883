"""Windows and triggers as values. What they do is in `operators`; how users write them is in `frame`."""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.core.event_time.time import Duration


@dataclass(frozen=True)
class HoppingWindows:
    """Windows ``[start, start + period)`` at every multiple of `every`, shifted by `offset`.

    Tumbling when `period` equals `every`; with gaps between them when it is shorter. Starts are those of Polars'
    ``dt.truncate``: weeks start on Monday, months and days follow the column's time zone.
    """

    every: Duration
    period: Duration
    offset: Duration

    @property
    def kind(self) -> str:
        """``tumbling`` or ``hopping``."""
        return "tumbling" if self.every == self.period else "hopping"


@dataclass(frozen=True)
class CumulativeWindows:
    """Windows that share a start, aligned to `every`, and end `step`, 2 x `step`, … after it, up to `every`."""

    step: Duration
    every: Duration
    offset: Duration

    kind = "cumulative"


@dataclass(frozen=True)
class SessionWindows:
    """Per key, rows closer than or exactly `gap` apart belong together; the window ends `gap` after its last row."""

    gap: Duration

    kind = "session"


Windows = HoppingWindows | CumulativeWindows | SessionWindows


@dataclass(frozen=True)
class EveryDuration:
    """Early results of open windows every so much *processing* time."""

    interval: Duration


@dataclass(frozen=True)
class EveryRows:
    """Early results of a window each time that it has received another `rows` rows."""

    rows: int


Trigger = EveryDuration | EveryRows
"""When a window gives early results; None stands for "once, when the watermark passes its end"."""
