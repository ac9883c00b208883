"""Where watermarks come from and how they are combined: pure state machines over int64 microseconds.

============================  ===================================================  ====================================
class                         what it does                                         Flink's class
============================  ===================================================  ====================================
:class:`BoundedOutOfOrderness`  the watermark that a stream of times allows        ``BoundedOutOfOrdernessWatermarks``
:class:`IdleClock`            says when nothing has happened for too long          ``WatermarksWithIdleness``
:class:`PartitionWatermarks`  combines the splits inside one source                ``WatermarkOutputMultiplexer``
:class:`WatermarkMerger`      combines the input channels of one task              ``StatusWatermarkValve``
============================  ===================================================  ====================================

For the operator that gives a stream watermarks of its own see :mod:`.watermark_assigner`.

Every call returns what is to be emitted, in order. :class:`Active` says that an idle stream speaks of time again; it
is no message, since on a channel the next batch or watermark says the same. No watermark that is given out regresses.

Ends are the one rule that is not Flink's: a channel whose watermark is the maximum has ended and no longer counts. (In
Flink an ended channel beside an idle one closes every window, though the idle one may wake up.)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from streamlab.core.errors import InternalError, OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import Idle, Message, Watermark

MergerState = dict[str, int | bool | list[tuple[int, bool, bool, bool]]]
_MOST_OUTDATED = 64
PartitionsState = dict[str, int | bool | list[tuple[str, int, bool]]]


@dataclass(frozen=True, slots=True)
class Active:
    """The stream, idle until now, holds the watermark again."""


Signal = Watermark | Idle | Active
"""What a combined stream says about time."""


def messages(signals: Iterable[Signal]) -> list[Message]:
    """Return the signals that travel: that a stream is active again shows in the rows that follow."""
    return [signal for signal in signals if not isinstance(signal, Active)]


class BoundedOutOfOrderness:
    """The watermark of a stream whose rows come at most `delay_us` out of order: ``max(ts) - delay - 1 tick``.

    Parameters
    ----------
    delay_us
        How far behind the latest time a row may come, in microseconds, at least 0.
    tick_us
        Unit of the time column in microseconds. A row at the watermark is late and one a tick above it is not, so that
        with the minus one tick a row exactly `delay_us` behind is still on time.
    minus_tick
        False for SQL's ``WATERMARK FOR ts AS ts - INTERVAL d``, where that row is late.
    start_us
        The watermark before any row.

    Examples
    --------
    >>> watermarks = BoundedOutOfOrderness(delay_us=5, tick_us=1)
    >>> watermarks.observe(100), watermarks.observe(90), watermarks.observe(101)
    (94, None, 95)
    """

    def __init__(self, delay_us: int, tick_us: int, *, minus_tick: bool = True, start_us: int = MIN_TIME_US) -> None:
        if delay_us < 0:
            raise OptionError(explained("watermark", needed="a delay of zero or more", got=f"{delay_us} µs"))
        self.behind_us = delay_us + (tick_us if minus_tick else 0)
        """How far the watermark is behind the latest row."""
        self._current = start_us

    @property
    def current(self) -> int:
        """The watermark now; `MIN_TIME_US` before any row."""
        return self._current

    @property
    def latest_us(self) -> int | None:
        """The latest event time that the watermark stands for; None before any row."""
        return None if self._current == MIN_TIME_US else min(self._current + self.behind_us, MAX_TIME_US)

    def observe(self, max_time_us: int | None) -> int | None:
        """Take the latest event time of some rows (None: there is none) and return the watermark if it has grown."""
        if max_time_us is None or (watermark := max(max_time_us - self.behind_us, MIN_TIME_US)) <= self._current:
            return None
        self._current = watermark
        return watermark

    def advance(self, us: int) -> int | None:
        """Raise the watermark by hand, whatever the rows say, and return it if it has grown."""
        if us <= self._current:
            return None
        self._current = us
        return us


class IdleClock:
    """Says that a stream is idle once more than `timeout_us` has passed without activity.

    The countdown starts at the first check that finds no activity since the check before, as in Flink. Time between
    :meth:`pause` and :meth:`resume` does not count: a stream that is held back by backpressure is not idle.

    Raises
    ------
    OptionError
        If the timeout is not positive.

    Examples
    --------
    >>> clock = IdleClock(10)
    >>> clock.is_idle(0), clock.is_idle(10), clock.is_idle(11)
    (False, False, True)
    """

    def __init__(self, timeout_us: int) -> None:
        if timeout_us <= 0:
            raise OptionError(explained("idle_timeout", needed="a duration above zero", got=f"{timeout_us} µs"))
        self._timeout = timeout_us
        self._acted = False
        self._since: int | None = None
        self._hidden = 0
        self._paused_at: int | None = None

    def activity(self) -> None:
        """Note that something came."""
        self._acted = True

    def is_idle(self, now_us: int) -> bool:
        """Check at processing time `now_us`."""
        seen = (now_us if self._paused_at is None else self._paused_at) - self._hidden
        if self._acted:
            self._acted, self._since = False, None
        elif self._since is None:
            self._since = seen
        else:
            return seen - self._since > self._timeout
        return False

    @property
    def due_us(self) -> int | None:
        """When a check can first say "idle"; None while no countdown runs."""
        if self._since is None or self._acted or self._paused_at is not None:
            return None
        return self._since + self._hidden + self._timeout + 1

    def pause(self, now_us: int) -> None:
        """Stop counting: the stream may have rows that nobody can take."""
        if self._paused_at is None:
            self._paused_at = now_us

    def resume(self, now_us: int) -> None:
        """Go on counting."""
        if self._paused_at is not None:
            self._hidden += now_us - self._paused_at
            self._paused_at = None


@dataclass(slots=True)
class _Partition:
    us: int
    idle: bool = False


class PartitionWatermarks:
    """Combines the watermarks of the splits that one source subtask reads: the minimum over those that aren't idle.

    An *immediate* change is combined at once, a *deferred* one with the next immediate change or :meth:`emit`. A split
    that is added late holds the combined watermark where it is until it has caught up. When all splits are idle the
    maximum over them is given out, then ``Idle``.

    Examples
    --------
    >>> splits = PartitionWatermarks()
    >>> splits.add("a")
    >>> splits.add("b", start_us=3)
    >>> splits.on_watermark("a", 5)
    [Watermark(us=3)]
    >>> splits.remove("b"), splits.emit()
    (True, [Watermark(us=5)])
    """

    def __init__(self) -> None:
        self._splits: dict[str, _Partition] = {}
        self._lowest: list[tuple[int, str]] = []
        """Watermarks of active splits as a heap, among others that are out of date: so the minimum needs no search."""
        self._active = 0
        self._current = MIN_TIME_US
        self._idle = False

    @property
    def current(self) -> int:
        """The combined watermark that was last given out; `MIN_TIME_US` before the first."""
        return self._current

    @property
    def is_idle(self) -> bool:
        """Whether all splits are idle."""
        return self._idle

    def lowest(self, most: int) -> list[str]:
        """Return so many splits that hold the watermark back the most: active ones first, then by their watermarks."""
        found: list[tuple[int, str]] = []
        while self._lowest and len(found) < most:
            entry = heapq.heappop(self._lowest)
            if self._counts(entry) and entry not in found[-1:]:
                found.append(entry)
        for entry in found:
            heapq.heappush(self._lowest, entry)
        names = [name for _, name in found]
        if len(names) < most:
            idle = ((part.us, name) for name, part in self._splits.items() if part.idle)
            names += [name for _, name in heapq.nsmallest(most - len(names), idle)]
        return names

    def watermark_of(self, split: str) -> int:
        """Return a split's own watermark."""
        return self._split(split).us

    def others_of(self, split: str) -> int:
        """Return the lowest watermark of the other splits that count; `MAX_TIME_US` when there are none."""
        others = (part.us for name, part in self._splits.items() if name != split and not part.idle)
        return min(others, default=MAX_TIME_US)

    def is_split_idle(self, split: str) -> bool:
        """Return whether a split is left out."""
        return self._split(split).idle

    def add(self, split: str, start_us: int = MIN_TIME_US) -> None:
        """Start to count a split.

        `start_us` is the watermark that is known of it before it is read: just below its earliest time, or the one in a
        checkpoint.
        """
        if split in self._splits:
            raise InternalError(explained("watermarks", needed="a new split", got=f"{split!r}, which is known"))
        self._splits[split] = _Partition(start_us)
        self._count(split)

    def remove(self, split: str) -> bool:
        """Stop counting a split, one that has ended or that another subtask reads, and return whether it was known.

        The combined watermark does not move before the next change or :meth:`emit`.
        """
        part = self._splits.pop(split, None)
        self._active -= part is not None and not part.idle
        return part is not None

    def on_watermark(self, split: str, us: int, *, deferred: bool = False) -> list[Signal]:
        """Take a split's watermark, which also makes it active. A lower one than before changes nothing."""
        part = self._split(split)
        grown = us > part.us
        part.us = max(us, part.us)
        if part.idle:
            part.idle = False
            self._count(split)
        elif grown:
            self._push(part.us, split)
        if deferred:
            return []
        return self.emit() if grown and us > self._current else self._wake()

    def on_idle(self, split: str, *, deferred: bool = False) -> list[Signal]:
        """Leave a split out until it is active again."""
        part = self._split(split)
        self._active -= not part.idle
        part.idle = True
        return [] if deferred else self.emit()

    def on_active(self, split: str, *, deferred: bool = False) -> list[Signal]:
        """Count a split again."""
        part = self._split(split)
        if part.idle:
            part.idle = False
            self._count(split)
        return [] if deferred else self.emit()

    def emit(self) -> list[Signal]:
        """Combine what is known now, deferred changes and removed splits included. Nothing without splits."""
        if not self._splits:
            return []
        if self._active:
            while not self._counts(self._lowest[0]):
                heapq.heappop(self._lowest)
            return self._wake() + self._raise_to(self._lowest[0][0])
        flushed = self._raise_to(max(part.us for part in self._splits.values()))
        already, self._idle = self._idle, True
        return flushed if already else [*flushed, Idle()]

    def advance(self, us: int) -> list[Signal]:
        """Raise the combined watermark by hand; the splits' own stay where they are, and count once they are above."""
        raised = self._raise_to(us)
        return [*raised, Idle()] if raised and self._idle else raised

    def snapshot(self) -> PartitionsState:
        """Return the whole state as plain values."""
        splits = [(name, part.us, part.idle) for name, part in self._splits.items()]
        return {"current": self._current, "idle": self._idle, "splits": splits}

    @classmethod
    def restore(cls, state: PartitionsState) -> PartitionWatermarks:
        """Return the object that :meth:`snapshot` was taken of."""
        self = cls()
        match state:
            case {"current": int(current), "idle": bool(idle), "splits": list(splits)}:
                self._current, self._idle = current, idle
                self._splits = {str(name): _Partition(int(us), bool(asleep)) for name, us, asleep in splits}
                for name, part in self._splits.items():
                    if not part.idle:
                        self._count(name)
            case _:
                raise InternalError(explained("watermarks", needed="the state of splits", got=repr(state)))
        return self

    def _count(self, split: str) -> None:
        """Begin to count a split, as active."""
        self._active += 1
        self._push(self._splits[split].us, split)

    def _push(self, us: int, split: str) -> None:
        heapq.heappush(self._lowest, (us, split))
        if len(self._lowest) > _MOST_OUTDATED + 2 * len(self._splits):
            self._lowest = [(part.us, name) for name, part in self._splits.items() if not part.idle]
            heapq.heapify(self._lowest)

    def _counts(self, entry: tuple[int, str]) -> bool:
        part = self._splits.get(entry[1])
        return part is not None and not part.idle and part.us == entry[0]

    def _split(self, split: str) -> _Partition:
        try:
            return self._splits[split]
        except KeyError:
            known = ", ".join(map(repr, self._splits)) or "none"
            raise InternalError(explained("watermarks", needed=f"one of {known}", got=repr(split))) from None

    def _wake(self) -> list[Signal]:
        was_idle, self._idle = self._idle, False
        return [Active()] if was_idle else []

    def _raise_to(self, us: int) -> list[Signal]:
        if us <= self._current:
            return []
        self._current = us
        return [Watermark(us)]


@dataclass(slots=True)
class _Channel:
    us: int
    idle: bool = False
    aligned: bool = True
    ended: bool = False


class WatermarkMerger:
    """Combines watermarks and idleness of a task's input channels.

    The watermark is the minimum over the channels that are active and *aligned*. An idle channel does not count, and
    when it is active again it is aligned, and so counts, only once its own watermark has reached what was already given
    out. When the last active channel becomes idle the maximum over the channels is given out, so that the result does
    not depend on the order in which they became idle, and then ``Idle``. When all channels have ended the watermark is
    `MAX_TIME_US`.

    Parameters
    ----------
    channels
        How many there are, at least one; they are numbered from 0.
    start_us
        The watermark that has already been given out, when the task goes on from a checkpoint.

    Examples
    --------
    >>> merger = WatermarkMerger(2)
    >>> merger.on_watermark(0, 5), merger.on_watermark(1, 3), merger.on_idle(1)
    ([], [Watermark(us=3)], [Watermark(us=5)])
    """

    def __init__(self, channels: int, *, start_us: int = MIN_TIME_US) -> None:
        if channels < 1:
            raise InternalError(explained("watermarks", needed="at least one channel", got=str(channels)))
        self._channels = [_Channel(start_us) for _ in range(channels)]
        self._current = start_us
        self._idle = False

    @property
    def current(self) -> int:
        """The watermark that was last given out; `MIN_TIME_US` before the first."""
        return self._current

    @property
    def is_idle(self) -> bool:
        """Whether all channels that have not ended are idle."""
        return self._idle

    def watermark_of(self, channel: int) -> int:
        """Return a channel's own watermark: the lowest of them says which input holds the task back."""
        return MAX_TIME_US if self._channels[channel].ended else self._channels[channel].us

    def others_of(self, channel: int) -> int:
        """Return the lowest watermark of the other channels that count; `MAX_TIME_US` when there are none."""
        others = (c.us for at, c in enumerate(self._channels) if at != channel and c.aligned and not c.ended)
        return min(others, default=MAX_TIME_US)

    def is_behind(self, channel: int) -> bool:
        """Return whether a channel is behind what was last given out, so that it does not count yet."""
        return self._channels[channel].us < self._current

    def is_channel_idle(self, channel: int) -> bool:
        """Return whether a channel is idle."""
        return self._channels[channel].idle

    def on_watermark(self, channel: int, us: int) -> list[Signal]:
        """Take a channel's watermark; the maximum ends the channel. Ignored while the channel is idle, or not higher.

        A driver that wants a watermark to wake its channel calls :meth:`on_active` first.
        """
        if us >= MAX_TIME_US:
            return self.on_end(channel)
        state = self._channels[channel]
        if state.idle or state.ended or us <= state.us:
            return []
        state.us = us
        state.aligned = state.aligned or us >= self._current
        return self._advance()

    def on_idle(self, channel: int) -> list[Signal]:
        """Leave a channel out."""
        state = self._channels[channel]
        if state.idle or state.ended:
            return []
        state.idle, state.aligned = True, False
        return self._settle()

    def on_active(self, channel: int) -> list[Signal]:
        """Take a channel in again: its next message has come."""
        state = self._channels[channel]
        if not state.idle or state.ended:
            return []
        state.idle, state.aligned = False, state.us >= self._current
        return self._wake() + self._advance()

    def on_end(self, channel: int) -> list[Signal]:
        """Leave a channel out for ever."""
        state = self._channels[channel]
        if state.ended:
            return []
        state.ended, state.idle, state.aligned = True, False, False
        return self._settle()

    def snapshot(self) -> MergerState:
        """Return the whole state as plain values."""
        channels = [(c.us, c.idle, c.aligned, c.ended) for c in self._channels]
        return {"current": self._current, "idle": self._idle, "channels": channels}

    @classmethod
    def restore(cls, state: MergerState) -> WatermarkMerger:
        """Return the object that :meth:`snapshot` was taken of."""
        match state:
            case {"current": int(current), "idle": bool(idle), "channels": list(channels)}:
                self = cls(len(channels), start_us=current)
                self._idle = idle
                self._channels = [_Channel(*channel) for channel in channels]
                return self
            case _:
                raise InternalError(explained("watermarks", needed="the state of channels", got=repr(state)))

    def _settle(self) -> list[Signal]:
        left = [c for c in self._channels if not c.ended]
        if not left:
            return self._wake() + self._raise_to(MAX_TIME_US)
        if not all(c.idle for c in left):
            return self._advance()
        flushed = self._raise_to(max(c.us for c in left))
        already, self._idle = self._idle, True
        return flushed if already else [*flushed, Idle()]

    def _advance(self) -> list[Signal]:
        counted = [c.us for c in self._channels if c.aligned]
        return self._raise_to(min(counted)) if counted else []

    def _wake(self) -> list[Signal]:
        was_idle, self._idle = self._idle, False
        return [Active()] if was_idle else []

    def _raise_to(self, us: int) -> list[Signal]:
        if us <= self._current:
            return []
        self._current = us
        return [Watermark(us)]
