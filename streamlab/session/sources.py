"""The functions that streams begin with: arguments become a source, and the source a StreamFrame."""

from __future__ import annotations

from collections.abc import Iterable

from streamlab.connectors import frames
from streamlab.connectors.source import Source
from streamlab.connectors.timing import DurationLike, Pace
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan.nodes import Scan
from streamlab.plan.schema import check_names
from streamlab.session.local_runner import LocalRunner


def stream(source: Source) -> StreamFrame:
    """Return a stream that reads a source; the way in for sources that are not streamlab's own."""
    check_names(source.name, source.schema)
    scan = Scan(source=source, step=source.name, schema=source.schema, event_time=source.timing.event_time)
    return StreamFrame(scan, LocalRunner())


def from_frame(
    frame: frames.AnyFrame | Iterable[frames.AnyFrame],
    *,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> StreamFrame:
    """Return a stream of the rows of a frame, or of several frames, one after the other.

    Parameters
    ----------
    frame
        A Polars or pandas DataFrame, a LazyFrame, or an iterable of frames of one schema.
    event_time
        Column with the time at which a row happened.
    watermark
        How far rows may come out of order, such as ``"10s"``; None keeps windows open until the input ends.
    idle_timeout
        After how long without rows the source no longer holds windows of other sources open.
    pace
        Replay by event time: ``"max"``, ``"realtime"``, or a factor such as ``"60x"``.
    max_advance
        How far ahead of the rows before it a row may be; rows beyond that are dead-lettered.
    """
    return stream(
        frames.from_frame(
            frame,
            event_time=event_time,
            watermark=watermark,
            idle_timeout=idle_timeout,
            pace=pace,
            max_advance=max_advance,
        )
    )
