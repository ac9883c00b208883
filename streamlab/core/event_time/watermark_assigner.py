"""How a stream in the middle of a query gets watermarks of its own (Flink: ``WatermarkAssignerOperator``).

As in :mod:`.watermarks`, every call returns what is to be emitted, in order, and no watermark regresses.
"""

from __future__ import annotations

from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.event_time.watermarks import Active, Signal
from streamlab.core.messages import Idle, Watermark


def timer_interval_us(interval_us: int, idle_timeout_us: int) -> int:
    """Return how often to look at the clock for two periods at once, each of which may be off (zero or less).

    When one is more than five times the other, the shorter; else a fifth of the shorter, at least one (Flink's
    ``WatermarkAssignerOperator.calculateProcessingTimeTimerInterval``).

    >>> timer_interval_us(5, 42), timer_interval_us(110, 100), timer_interval_us(0, 7)
    (5, 20, 7)
    """
    periods = sorted(period for period in (interval_us, idle_timeout_us) if period > 0)
    if not periods:
        raise OptionError(explained("watermark", needed="an interval or an idle timeout", got="neither"))
    shorter, longer = periods[0], periods[-1]
    return shorter if len(periods) == 1 or shorter * 5 < longer else max(shorter // 5, 1)


class WatermarkAssigner:
    """Gives a stream watermarks of its own; those from above are dropped, but for the last.

    Parameters
    ----------
    interval_us
        Watermarks that grow by more than this are given after the rows that raised them, smaller steps on the clock,
        once per interval. 0 gives every step after its rows, which makes the output independent of the clock.
    idle_timeout_us
        Processing time without rows after which the stream is idle; None: never.
    start_us
        The watermark before any row. Flink's SQL starts at 0, so that times before 1970 never raise it.
    """

    def __init__(
        self, *, interval_us: int = 0, idle_timeout_us: int | None = None, start_us: int = MIN_TIME_US
    ) -> None:
        self._interval = interval_us
        self._idle_timeout = idle_timeout_us
        timed = interval_us > 0 or idle_timeout_us is not None
        self._timer_interval = timer_interval_us(interval_us, idle_timeout_us or 0) if timed else None
        self._reached = self._given = start_us
        self._acted = True
        self._idle = False
        self._active_since = self._emitted_at = 0
        self._next_timer = MIN_TIME_US if timed else None

    @property
    def current(self) -> int:
        """The highest watermark that the rows allow, given out or not."""
        return self._reached

    @property
    def next_timer_us(self) -> int | None:
        """When :meth:`on_timer` is due; `MIN_TIME_US`, so at once, before it has been told the time at all."""
        return self._next_timer

    def before_rows(self) -> list[Signal]:
        """Return what goes before rows that have come."""
        self._acted = True
        return self._wake()

    def after_rows(self, watermark_us: int | None) -> list[Signal]:
        """Return what goes after rows that allow this watermark (None: they say nothing about time)."""
        if watermark_us is not None:
            self._reached = max(self._reached, watermark_us)
        return self._give() if self._reached - self._given > self._interval else []

    def on_timer(self, now_us: int) -> list[Signal]:
        """Look at the clock. The first call only starts it."""
        if self._next_timer is None or self._timer_interval is None or now_us < self._next_timer:
            return []
        if self._next_timer == MIN_TIME_US:
            self._next_timer = now_us + self._timer_interval
            self._emitted_at = self._active_since = now_us
            return []
        # From when it was due, not from now: a look at the clock that comes late must not shift those that follow.
        self._next_timer += ((now_us - self._next_timer) // self._timer_interval + 1) * self._timer_interval
        out: list[Signal] = []
        if self._interval > 0 and now_us >= self._emitted_at + self._interval:
            self._emitted_at = now_us
            out += self._give()
        if self._acted:
            self._acted, self._active_since = False, now_us
        silent = self._idle_timeout is not None and now_us >= self._active_since + self._idle_timeout
        if silent and not self._idle:
            self._idle = True
            out.append(Idle())
        return out

    def on_upstream_watermark(self, us: int) -> list[Signal]:
        """Return what a watermark from above brings about: nothing, unless it is the last."""
        if us < MAX_TIME_US or self._given == MAX_TIME_US:
            return []
        self._reached = MAX_TIME_US
        return self._wake() + self._give()

    def _give(self) -> list[Signal]:
        if self._reached <= self._given:
            return []
        self._given = self._reached
        return [Watermark(self._given)]

    def _wake(self) -> list[Signal]:
        was_idle, self._idle = self._idle, False
        return [Active()] if was_idle else []
