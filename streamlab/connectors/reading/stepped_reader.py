"""A source's reader that can also be driven by hand: a batch, or some rows, at a time.

Rules
-----
- A step gives out one batch at once, whatever the pace, and never the end together with rows.
- A step of so many rows takes them from one split: the one whose watermark is lowest as far as rows were *given out*,
  of several the one whose turn it is, else the first in the order of all splits. So what is read next depends on the
  positions alone, and is the same for one reader as for several that share the splits, when the one with the lowest
  order is asked each time.
- A watermark that is raised by hand counts for the reader as a whole; the order of reading does not depend on it.
- What was read ahead and not given out when the stream is stopped by hand stays unread.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from streamlab.connectors.contracts.source import Source, Split
from streamlab.connectors.reading.finished_splits import FinishedIds
from streamlab.connectors.reading.progress import ReaderSnapshot, in_order, rows_of
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.split_cursor import ReadChunk, SplitCursor
from streamlab.core.messages import Batch, Message


class SteppedReader(SourceReader):
    """As :class:`SourceReader`, whose parameters it takes; :meth:`poll` and :meth:`step` may take turns."""

    def __init__(self, source: Source, splits: Sequence[Split], *arguments: Any, **options: Any) -> None:
        self.stepped: dict[str, int] = {}
        """Good rows that the last step gave out, by split."""
        self._goal: ReaderSnapshot | None = None
        self._goal_finished = FinishedIds()
        self._by_hand = False
        self._ranks = {split.id: at for at, split in enumerate(in_order(splits))}
        super().__init__(source, splits, *arguments, **options)

    def poll(self, now_us: int) -> list[Message]:
        """Read on by itself, as :meth:`SourceReader.poll`."""
        self._by_hand = False
        return super().poll(now_us)

    def stop(self, now_us: int) -> list[Message]:
        """Stop reading, as :meth:`SourceReader.stop`; after a step by hand nothing more is given out."""
        return self._end() if self._by_hand and not self._ended else super().stop(now_us)

    def step(self, now_us: int, rows: int | None = None) -> list[Message]:
        """Give out one batch, of at most `rows` rows of one split; None: the batch that a poll would give.

        Nothing when there are no rows now. The end comes with :meth:`stop` only.

        Raises
        ------
        SourceError
            As :meth:`poll`.
        """
        self.stepped = {}
        if self._ended:
            return []
        self._by_hand = True
        if self.source.discovers:
            self._take_in(self._finder().found_now(now_us))
        before = set(self._cursors)
        self._pacing.adopt()
        pace, self._pacing.factor = self._pacing.factor, None
        try:
            out = self._step(now_us, rows)
        finally:
            self._pacing.factor = pace
        if pace is not None and self._watermarks.latest_us is not None:
            # When it goes on at its pace, it does so from here.
            self._pacing.restart_at(self._watermarks.latest_us)
        if self.is_over and before:
            # The last rows of all still say what time it is, though their split no longer counts.
            ended = (one.watermark_us for name, one in self._ended_splits.last.items() if name in before)
            out += self.advance_watermark(max(ended))
        # What a hand holds back says nothing about how long rows take.
        timeless = [replace(m, ingested_us=None) if isinstance(m, Batch) else m for m in out]
        return timeless + self._idleness(now_us)

    def look(self) -> list[Message]:
        """Say what is known of the time without reading, when another reader of the source takes the step."""
        return [] if self._ended else self._say()

    def read_to(self, goal: ReaderSnapshot | None) -> None:
        """Give out rows up to these positions only, until told otherwise; None: as far as is to be read at all."""
        self._goal, self._goal_finished = goal, FinishedIds(None if goal is None else goal.finished)
        self._set_limits()

    def advance_watermark(self, us: int) -> list[Message]:
        """Raise the watermark by hand; rows that come behind it are late like any others."""
        if self._ended or not self._watermarks.follows_rows:
            return []
        raised = self._watermarks.advance(us)
        self._stop_if_there()
        return raised

    @property
    def reached(self) -> bool:
        """As :attr:`SourceReader.reached`; what bounds a step does not count."""
        return self._goal is None and super().reached

    @property
    def made_watermark_us(self) -> int | None:
        """The watermark that was last given out; None when the source makes none."""
        return self._watermarks.current_us if self._watermarks.follows_rows else None

    @property
    def next_order(self) -> tuple[int, int, int] | None:
        """What a step reads next: watermark, turn and place among all splits of a split; None: nothing more."""
        if self._ended or self._waits_for_ever:
            return None
        orders = [self._order_of(cursor) for cursor in self._cursors.values() if cursor.room != 0]
        if not orders and self.source.discovers and not self._cursors:
            return (self._watermarks.current_us, 0, len(self._ranks))
        return min(orders, default=None)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of any split, and only the end is still to come."""
        return not self._cursors and not self.source.discovers

    def _must_wait(self, now_us: int) -> bool:
        return not self._by_hand and super()._must_wait(now_us)

    def _limit_of(self, split: str) -> int | None:
        limit = super()._limit_of(split)
        if self._goal is None:
            return limit
        wanted = rows_of(self._goal, split, self._goal_finished)
        return min((most for most in (limit, wanted) if most is not None), default=None)

    def _step(self, now_us: int, rows: int | None) -> list[Message]:
        if rows is None:
            followed = self._follow(now_us)
            if followed is not None:
                return followed
            self._ahead.joins_batches = False
            self._ahead.fill(now_us)
            return self._give(now_us, self._ahead.due(None))
        out: list[Message] = []
        for cursor in sorted(self._cursors.values(), key=self._order_of):
            read_before = self.rows_read
            self._ahead.fill_from(cursor, rows, now_us)
            out += self._give(now_us, self._ahead.due(None, cursor, rows))
            if self.rows_read > read_before:
                break
        return out

    def _give(
        self, now_us: int, takes: Sequence[tuple[ReadChunk, int]], finished: Collection[str] | None = None
    ) -> list[Message]:
        if self._by_hand:
            for piece, rows in takes:
                if rows:
                    name = piece.cursor.split.id
                    self.stepped[name] = self.stepped.get(name, 0) + rows
        return super()._give(now_us, takes, finished)

    def _order_of(self, cursor: SplitCursor) -> tuple[int, int, int]:
        name = cursor.split.id
        return self._watermarks.of(name), cursor.turn_to_give, self._ranks.setdefault(name, len(self._ranks))
