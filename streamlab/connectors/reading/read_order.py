"""Which of many splits is read next, at a cost that does not grow with how many there are.

Each split that has not been read to its end waits in one place: *ready* to be read, lowest watermark first; *early*,
for the pace to come to its first row; *held* back by the pace until what was read of it has been given out; *full*,
since no more of it is to be given out; or *dry*, with nothing to read the last time, until the next turn.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from itertools import count

from streamlab.connectors.reading.pacing import Pacing, first_us
from streamlab.connectors.reading.split_cursor import SplitCursor

_Entry = tuple[int, int, int, int, SplitCursor]
"""A time, the turn of the split's next row, the split's number, a ticket, the split; only the last ticket counts."""


class ReadOrder:
    """See the module.

    Parameters
    ----------
    pacing
        Says which splits are not read yet.
    """

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._ready: list[_Entry] = []
        self._early: list[_Entry] = []
        self._held: dict[str, SplitCursor] = {}
        self._full: dict[str, SplitCursor] = {}
        self._parked: dict[str, SplitCursor] = {}
        self._dry: dict[str, SplitCursor] = {}
        self._read: dict[str, SplitCursor] = {}
        self._exhausted: dict[str, SplitCursor] = {}
        self._numbers: dict[str, int] = {}
        self._numbered = count()
        self._tickets: dict[str, int] = {}
        self._next_ticket = count()
        self._go_on: set[int] = set()
        """Tickets of splits that were read in this turn and give more at once, whatever the pace."""

    @property
    def opened(self) -> dict[str, SplitCursor]:
        """Splits that have been read and have not ended."""
        return self._read

    @property
    def dry(self) -> Collection[SplitCursor]:
        """Splits that had nothing to read the last time."""
        return self._dry.values()

    @property
    def first_early_us(self) -> int | None:
        """The earliest event time of those that the pace keeps from being read."""
        while self._early and not self._counts(self._early[0]):
            heapq.heappop(self._early)
        return self._early[0][0] if self._early else None

    def add(self, cursor: SplitCursor) -> None:
        """Take in a split."""
        self._numbers[cursor.split.id] = next(self._numbered)
        self._push(cursor)

    def remove(self, cursor: SplitCursor) -> None:
        """Forget a split that has ended."""
        name = cursor.split.id
        self._leave(name)
        del self._numbers[name]
        for known in (self._dry, self._read, self._exhausted):
            known.pop(name, None)

    def finished(self) -> list[SplitCursor]:
        """Return the splits of which all was read and given out, in the order in which they were taken in."""
        there = [cursor for cursor in self._exhausted.values() if cursor.finished]
        return sorted(there, key=lambda cursor: self._numbers[cursor.split.id])

    def begin(self, now_us: int) -> None:
        """Begin to read: what a while ago could not be read may be now."""
        self._go_on.clear()
        self._let_go(self._parked)
        allowed = self._pacing.allowed_us(now_us)
        if allowed is None:
            self._let_go(self._held)
        while self._early and (allowed is None or self._early[0][0] <= allowed):
            entry = heapq.heappop(self._early)
            if self._counts(entry):
                self._push(entry[-1])

    def next(self, now_us: int) -> SplitCursor | None:
        """Return the split that is to be read next, None when there is none now; to be followed by :meth:`was_read`."""
        while self._ready:
            entry = heapq.heappop(self._ready)
            if self._counts(entry) and self._may_read(entry, now_us):
                return entry[-1]
        return None

    def has_ready(self, now_us: int) -> bool:
        """Return whether a split can be read at once."""
        cursor = self.next(now_us)
        if cursor is not None:
            self._push(cursor)
        return cursor is not None

    def was_read(self, cursor: SplitCursor, *, goes_on: bool) -> None:
        """Take note that a split was read, or was not after all.

        With `goes_on` it may be read again at once, though what was read has not been given out.
        """
        name = cursor.split.id
        self._leave(name)
        if cursor.opened:
            self._read[name] = cursor
        if cursor.dry:
            self._dry[name] = self._parked[name] = cursor
            return
        self._dry.pop(name, None)
        if cursor.exhausted:
            self._exhausted[name] = cursor
            return
        self._push(cursor)
        if goes_on:
            self._go_on.add(self._tickets[name])

    def was_given(self, cursor: SplitCursor) -> None:
        """Take note that rows of a split were given out."""
        if not cursor.queued and self._held.pop(cursor.split.id, None) is not None:
            self._push(cursor)

    def limits_changed(self) -> None:
        """Take note that splits may be read further than before."""
        self._let_go(self._full)

    def _may_read(self, entry: _Entry, now_us: int) -> bool:
        """Return whether a split may be read now; one that may not waits elsewhere."""
        cursor, name = entry[-1], entry[-1].split.id
        if cursor.exhausted:
            self._exhausted[name] = cursor
        elif cursor.room == 0:
            self._full[name] = cursor
        elif self._pacing.factor is None or entry[3] in self._go_on:
            return True
        elif cursor.queued:
            self._held[name] = cursor
        elif self._pacing.is_early(cursor, now_us):
            self._push(cursor, self._early, first_us(cursor) or 0)
        else:
            return True
        return False

    def _leave(self, name: str) -> None:
        """Take a split from where it waits; entries of it in the heaps count no more."""
        for place in (self._tickets, self._held, self._full, self._parked):
            place.pop(name, None)

    def _let_go(self, place: dict[str, SplitCursor]) -> None:
        for cursor in place.values():
            self._push(cursor)
        place.clear()

    def _push(self, cursor: SplitCursor, heap: list[_Entry] | None = None, time_us: int | None = None) -> None:
        name = cursor.split.id
        ticket = self._tickets[name] = next(self._next_ticket)
        reached_us = cursor.order_us if time_us is None else time_us
        entry = (reached_us, cursor.turn_to_read, self._numbers[name], ticket, cursor)
        heapq.heappush(self._ready if heap is None else heap, entry)

    def _counts(self, entry: _Entry) -> bool:
        return self._tickets.get(entry[-1].split.id) == entry[3]
