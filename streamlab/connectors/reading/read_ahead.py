"""What one source subtask has read and not yet given out: which split is read next, and which rows are due.

The split whose watermark is lowest as far as rows were *read* comes next, of several the one whose turn it is. At full
speed splits are read until a batch is full; with a pace, each split is read as far as one piece that is not due yet,
and not before its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from streamlab.connectors.reading.pacing import Pacing, reached
from streamlab.connectors.reading.read_order import ReadOrder
from streamlab.connectors.reading.split_cursor import ReadChunk, SplitCursor
from streamlab.connectors.reading.split_watermarks import SplitWatermarks


class ReadAhead:
    """Pieces that wait to be given out, in the order in which they were read.

    Parameters
    ----------
    cursors
        The splits that have not ended, as the reader keeps them.
    watermarks
        Say where a split is once rows were read.
    pacing
        Says which rows are due.
    column
        The event time, if the source has one.
    batch_rows
        Rows that a batch grows to at full speed.
    keeps_batches
        Whether every piece is a batch of its own.
    """

    def __init__(
        self,
        cursors: Mapping[str, SplitCursor],
        watermarks: SplitWatermarks,
        pacing: Pacing,
        column: str | None,
        *,
        batch_rows: int,
        keeps_batches: bool,
    ) -> None:
        self.pieces: deque[ReadChunk] = deque()
        self.order = ReadOrder(pacing)
        self._cursors = cursors
        self._watermarks = watermarks
        self._pacing = pacing
        self._column = column
        self._batch_rows = batch_rows
        self._keeps_batches = keeps_batches
        self.joins_batches = False
        """Whether pieces that are there at once are given out as one nevertheless."""

    @property
    def rows(self) -> int:
        """Rows that wait to be given out."""
        return sum(piece.left for piece in self.pieces)

    # -- reading -------------------------------------------------------------------------------------------------

    def fill(self, now_us: int) -> None:
        """Read until a batch is full, or nothing more can be had now."""
        self.order.begin(now_us)
        rows = self.rows if self._pacing.factor is None else 0
        keeps = self._keeps_batches and not self.joins_batches
        while rows < self._batch_rows and not (keeps and self._has_due(now_us)):
            cursor = self.order.next(now_us)
            if cursor is None:
                break
            left = cursor.rows_left()
            if rows and left is not None and left > self._batch_rows - rows and self._pacing.factor is None:
                self.order.was_read(cursor, goes_on=False)
                break
            piece = self._read(cursor, self._batch_rows - rows, now_us, joins_batches=self.joins_batches)
            is_due = piece is not None and self._is_due(piece, now_us)
            if piece is not None and is_due:
                rows += piece.left
            self.order.was_read(cursor, goes_on=is_due)
        if self._pacing.begins_us is None and self._pacing.factor is not None and self._column:
            times = [piece.next_time_us(self._column) for piece in self.pieces]
            self._pacing.begins_us = min((time for time in times if time is not None), default=None)

    def fill_from(self, cursor: SplitCursor, rows: int, now_us: int) -> None:
        """Read on in one split until so many of its rows wait, or no more can be had now."""
        wanted = rows if cursor.room is None else min(rows, cursor.room)
        waiting = sum(piece.left for piece in self.pieces if piece.cursor is cursor)
        while waiting < wanted and not cursor.exhausted and not (waiting and self._keeps_batches):
            piece = self._read(cursor, wanted - waiting, now_us)
            self.order.was_read(cursor, goes_on=False)
            if piece is None:
                break
            waiting += piece.left

    def _read(self, cursor: SplitCursor, limit: int, now_us: int, *, joins_batches: bool = False) -> ReadChunk | None:
        """Read once from a split; what comes waits to be given out."""
        cursor.dry = False
        try:
            piece = cursor.fetch(limit, now_us, joins_batches=joins_batches)
        except Exception:
            # Whoever takes the error as said may read on.
            self.order.was_read(cursor, goes_on=False)
            raise
        if piece is None:
            return None
        self.pieces.append(piece)
        if piece.max_time_us is not None and self._watermarks.follows_rows:
            watermark_us = self._watermarks.behind(piece.max_time_us)
            cursor.order_us = watermark_us if cursor.is_fresh else max(cursor.order_us, watermark_us)
            cursor.is_fresh = False
        return piece

    def _is_due(self, piece: ReadChunk, now_us: int) -> bool:
        """Return whether all rows of a piece may be given out now."""
        if self._pacing.factor is None:
            return True
        allowed = self._pacing.allowed_us(now_us)
        return allowed is not None and bool(self._column) and piece.due(self._column or "", allowed) == piece.left

    # -- giving out ----------------------------------------------------------------------------------------------

    def due(
        self, allowed_us: int | None, only: SplitCursor | None = None, most: int | None = None
    ) -> list[tuple[ReadChunk, int]]:
        """Return pieces that are due, each with how many of its rows are.

        Parameters
        ----------
        allowed_us
            Event time up to which rows are due; None: all are.
        only
            The one split whose rows are wanted; None: those of all.
        most
            How many rows are wanted at most; None: any number.
        """
        takes: list[tuple[ReadChunk, int]] = []
        blocked: set[str] = set()
        rooms: dict[str, int] = {}
        for piece in self.pieces:
            name = piece.cursor.split.id
            if name in blocked or (only is not None and piece.cursor is not only) or most == 0:
                continue
            due = piece.left if allowed_us is None else piece.due(self._column or "", allowed_us)
            if piece.cursor.room is not None:
                room = rooms.setdefault(name, piece.cursor.room)
                due = min(due, room)
                rooms[name] = room - due
                if not room:
                    blocked.add(name)
                    continue
            if most is not None:
                due = min(due, most)
                most -= due
            takes.append((piece, due))
            if due < piece.left:
                blocked.add(name)
        return takes

    def drop_empty(self, pieces: Collection[ReadChunk]) -> None:
        """Forget those of the pieces that were given out to the last row."""
        gone = {id(piece) for piece in pieces if not piece.left}
        self.pieces = deque(piece for piece in self.pieces if id(piece) not in gone)
        for piece in pieces:
            self.order.was_given(piece.cursor)

    def wakeups_us(self, now_us: int) -> tuple[list[int], bool]:
        """Return when there may be something to read or to give out, and whether a split cannot tell."""
        wishes = [now_us] if self.order.has_ready(now_us) else []
        wishes += self._pacing.waits_until(self.pieces, self._column, self.order.first_early_us)
        unsure = False
        for cursor in self.order.dry:
            if cursor.queued or cursor.room == 0:
                continue
            if cursor.clock is not None and cursor.clock.due_us is not None:
                wishes.append(cursor.clock.due_us)
            known = cursor.wakeup_us(now_us)
            unsure = unsure or known is None
            wishes += [known] if known is not None else []
        return wishes, unsure

    def reached_us(self) -> int | None:
        """Return the event time that the slowest of the splits is at: see :func:`.pacing.reached`."""
        return reached(self._cursors.values(), self.pieces, self._column, self._watermarks.latest_us)

    def _has_due(self, now_us: int) -> bool:
        """Return whether there are rows to give out now."""
        allowed = self._pacing.allowed_us(now_us)
        if allowed is None or not self._column:
            return bool(self.pieces)
        return any(piece.due(self._column, allowed) for piece in self.pieces)
