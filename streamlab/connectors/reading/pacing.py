"""When rows are due, by their event times: a clock of event time that goes so many times faster than the wall clock.

The two are tied together at one moment, the anchor: an event time, and the wall clock at which it was reached. A change
of pace moves the anchor to where event time stands then, so nothing jumps, nothing comes in a burst and nothing waits
for longer than its new pace says. Where it stands is what the clock says, unless the rows are not there yet: those that
were held up, by a pause or by slow steps, are not made up for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from streamlab.connectors.reading.split_cursor import ReadChunk, SplitCursor
from streamlab.core.event_time.time import MIN_TIME_US


class Pacing:
    """The clock of one reader.

    Parameters
    ----------
    factor
        How many times faster than they happened rows are given out; None: as fast as it goes.
    begins_us
        Event time that is reached with the first look; None: not known yet.

    Examples
    --------
    >>> pacing = Pacing(60.0, begins_us=0)
    >>> pacing.start(now_us=1_000)
    >>> pacing.allowed_us(2_000), pacing.clock_us(120_000)
    (60000, 3000)
    """

    def __init__(self, factor: float | None, begins_us: int | None) -> None:
        self.factor = factor
        self.begins_us = begins_us
        self._started_us: int | None = None
        self.is_new = False
        """Whether another pace was asked for, and is not taken on yet."""
        self._wish: float | None = None

    def start(self, now_us: int) -> None:
        """Take note of the first look after the anchor's event time was set."""
        if self._started_us is None:
            self._started_us = now_us

    def allowed_us(self, now_us: int) -> int | None:
        """Return the event time up to which rows are due; None: all are."""
        if self.factor is None:
            return None
        if self.begins_us is None or self._started_us is None:
            return MIN_TIME_US
        return self.begins_us + int((now_us - self._started_us) * self.factor)

    def clock_us(self, event_us: int) -> int:
        """Return when a row with this event time is due."""
        if self.factor is None or self.begins_us is None or self._started_us is None:
            return MIN_TIME_US
        return self._started_us + math.ceil((event_us - self.begins_us) / self.factor)

    def restart_at(self, event_us: int) -> None:
        """Go on from this event time with the next look."""
        self.begins_us, self._started_us = event_us, None

    def is_early(self, cursor: SplitCursor, now_us: int) -> bool:
        """Return whether a paced split need not be opened yet."""
        first, allowed = first_us(cursor), self.allowed_us(now_us)
        if cursor.opened or first is None or allowed is None or self.begins_us is None:
            return False
        return first > allowed

    def waits_until(self, queue: Sequence[ReadChunk], column: str | None, unread_us: int | None) -> list[int]:
        """Return when the pace lets the next rows pass; `unread_us` is the earliest time in splits not opened yet."""
        if self.factor is None or column is None:
            return []
        times = {piece.cursor.split.id: piece.next_time_us(column) for piece in reversed(queue)}
        return [self.clock_us(time) for time in (*times.values(), unread_us) if time is not None]

    # -- another pace --------------------------------------------------------------------------------------------

    def wish(self, factor: float | None) -> None:
        """Ask for another pace, from the next batch on: see :meth:`change`."""
        self.is_new, self._wish = True, factor

    def change(self, now_us: int, reached_us: int | None) -> None:
        """Take on the pace that was asked for; `reached_us` is how far the rows are, see :func:`reached`."""
        self.hold(now_us, reached_us)
        self.start(now_us)
        self.adopt()

    def adopt(self) -> None:
        """Take on the pace that was asked for, if one was, wherever the anchor is."""
        if self.is_new:
            self.factor, self.is_new = self._wish, False

    def hold(self, now_us: int, reached_us: int | None) -> None:
        """Let event time stand where it is until the next look."""
        known = [us for us in (self.allowed_us(now_us), reached_us) if us is not None and us > MIN_TIME_US]
        if known:
            self.restart_at(min(known))


def reached(
    cursors: Iterable[SplitCursor], queue: Collection[ReadChunk], column: str | None, latest_us: int | None
) -> int | None:
    """Return the event time that the slowest of the splits is at, of those that have rows.

    A split is at the latest time that it gave out, or at that of the row which it gives out next if that is later.

    Parameters
    ----------
    cursors
        The splits that have not ended.
    queue
        What was read and not given out.
    column
        The event time.
    latest_us
        What is returned when no split says anything.
    """
    if column is None:
        return latest_us
    waiting: dict[str, int | None] = {}
    for piece in queue:
        name = piece.cursor.split.id
        if waiting.get(name) is None:
            waiting[name] = piece.next_time_us(column)
    places = []
    for cursor in cursors:
        if cursor.dry and not cursor.queued:
            continue
        times = [us for us in (cursor.latest_us, waiting.get(cursor.split.id)) if us is not None]
        places += [max(times)] if times else []
    return min(places, default=latest_us)


def first_us(cursor: SplitCursor) -> int | None:
    """Return the earliest time of a split, as far as it is known beforehand."""
    return cursor.split.first_time_us if cursor.split.min_time_us is None else cursor.split.min_time_us
