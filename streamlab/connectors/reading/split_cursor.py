"""One split while it is read: opened when its turn comes, read ahead, and given out piece by piece."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streamlab.connectors.contracts.source import START, Position, Read, Source, Split, SplitReader
from streamlab.connectors.reading.event_time_check import Vetting
from streamlab.connectors.reading.progress import SplitProgress
from streamlab.core.event_time.time import time_bounds, time_us
from streamlab.core.event_time.watermarks import IdleClock


@dataclass
class ReadChunk:
    """Rows that were read and are not yet given out, all of them or the last of them.

    Attributes
    ----------
    cursor : SplitCursor
        The split that they come from.
    frame : pl.DataFrame | pl.LazyFrame
        The rows; a DataFrame when the source has a pace.
    rows, taken : int
        How many there are, and how many of them were given out.
    max_time_us : int | None
        Latest event time of the rows.
    letters : pl.DataFrame | None
        Dead letters among them, which leave with the last row.
    start, end : Position
        Where the read began and ended.
    skip_after : int
        Good rows after `end` that were given out before a restart.
    min_time_us : int | None
        Earliest event time of the rows, when it is known.
    skipped : int
        How many of the rows were given out before a restart.
    start_bytes, end_bytes : int
        Bytes of the split before the first of the others, and before `end`.
    """

    cursor: SplitCursor
    frame: pl.DataFrame | pl.LazyFrame
    rows: int
    max_time_us: int | None
    letters: pl.DataFrame | None
    start: Position
    end: Position
    skip_after: int
    taken: int = 0
    min_time_us: int | None = None
    skipped: int = 0
    start_bytes: int = 0
    end_bytes: int = 0
    _next: tuple[int, int | None] | None = None
    """Rows taken, and the event time of the first row after these, which a pace asks for again and again."""

    @property
    def left(self) -> int:
        """Rows still to be given out."""
        return self.rows - self.taken

    @property
    def bytes_given(self) -> int:
        """Bytes of the split before the rows that are left, as if all of these rows were of one length."""
        left = (self.end_bytes - self.start_bytes) * self.left // (self.rows - self.skipped) if self.left else 0
        return self.end_bytes - left

    def due(self, column: str, allowed_us: int) -> int:
        """Return how many of the rows left come before the first one later than `allowed_us`."""
        if self.max_time_us is None or self.max_time_us <= allowed_us:
            return self.left
        first_us = self.next_time_us(column)
        if first_us is not None and first_us > allowed_us:
            return 0
        early = self._rest().select(time_us(column) <= allowed_us).to_series()
        return self.left if early.all() else early.arg_min() or 0

    def next_time_us(self, column: str) -> int | None:
        """Return the event time of the first row left."""
        if self._next is None or self._next[0] != self.taken:
            time = self._rest().head(1).select(time_us(column).first()).item() if self.left else None
            self._next = self.taken, time
        return self._next[1]

    def take(self, rows: int, column: str | None) -> tuple[pl.DataFrame | pl.LazyFrame, tuple[int | None, int | None]]:
        """Give out the next rows, with their earliest event time, if it is known, and their latest."""
        if rows == self.rows:
            self.taken = rows
            return self.frame, (self.min_time_us, self.max_time_us)
        part = self._rest().head(rows)
        self.taken += rows
        return part, time_bounds(part, column)[:2] if column else (None, None)

    def _rest(self) -> pl.DataFrame:
        if isinstance(self.frame, pl.LazyFrame):
            self.frame = self.frame.collect()
        return self.frame.slice(self.taken) if self.taken else self.frame


class SplitCursor:
    """Reads one split.

    Parameters
    ----------
    source, split
        What is read.
    vetting
        Judges the rows.
    progress
        Where an earlier attempt has come to, if there was one.
    reached_us
        Latest event time of the split in that attempt.
    """

    def __init__(
        self,
        source: Source,
        split: Split,
        vetting: Vetting,
        progress: SplitProgress | None = None,
        *,
        reached_us: int | None = None,
    ) -> None:
        position, skip = (START, 0) if progress is None else (progress.position, progress.skip)
        self.split = split
        self.rows_given = 0 if progress is None else progress.rows
        self.bytes_given = 0 if progress is None else progress.bytes
        """Bytes of its file that were given out."""
        self.limit: int | None = None
        """How many good rows are given out at most; None: all."""
        self.position, self.skip = position, skip
        """As of what was given out."""
        self.begun = position != START or skip > 0
        """Whether something was given out, so that a snapshot must know the position."""
        self.order_us = 0
        """The split's watermark as of what was read: the lowest is read next."""
        self.is_fresh = not self.begun
        """Whether nothing was read, so that the order goes by what is known of the split beforehand."""
        self.queued = 0
        """Pieces that wait to be given out."""
        self.dry = False
        """Whether the last attempt to read found nothing."""
        self.latest_us: int | None = None
        """Latest event time that was given out."""
        self.given_at_us: int | None = None
        """Wall clock when rows were last given out."""
        self.clock: IdleClock | None = None
        self.rows_fetched = 0
        self._source = source
        self._vetting = vetting
        self._reached_us = reached_us
        self._at = position
        self._bytes_before = self.bytes_given
        """Bytes of its file before what is read next."""
        self._to_skip = skip
        self._reader: SplitReader | None = None
        self._exhausted = False

    @property
    def source_name(self) -> str:
        """Name of the source."""
        return self._source.name

    @property
    def room(self) -> int | None:
        """How many more rows may be given out; None: any number."""
        return None if self.limit is None else max(0, self.limit - self.rows_given)

    @property
    def opened(self) -> bool:
        """Whether reading has begun."""
        return self._reader is not None or self._exhausted

    @property
    def exhausted(self) -> bool:
        """Whether all of it has been read."""
        return self._exhausted

    @property
    def finished(self) -> bool:
        """Whether all of it has been given out."""
        return self._exhausted and not self.queued

    @property
    def bytes_left(self) -> int:
        """Bytes of its file that were not given out, when it is known how many there are."""
        return 0 if self.split.bytes is None else self.split.bytes - self.bytes_given

    @property
    def turn_to_read(self) -> int:
        """The place of what is read next among what is there in all splits: see :meth:`.Source.turn_of`."""
        return self._source.turn_of(self.split, self._at)

    @property
    def turn_to_give(self) -> int:
        """The same of what is given out next."""
        return self._source.turn_of(self.split, self.position, self.skip)

    def rows_left(self) -> int | None:
        """Return how many rows are still to be read, when that is known."""
        return None if self.split.rows is None else max(0, self.split.rows - self.rows_fetched)

    def fetch(self, limit: int, now_us: int, *, joins_batches: bool = False) -> ReadChunk | None:
        """Read the next rows; None when there are none now, or none at all."""
        if self._reader is None:
            self._reader = self._source.open(self.split, self._at)
        start, read = self._at, None
        if not self._reader.done:
            read = (self._reader.read_on if joins_batches else self._reader.read)(limit, now_us)
        if self._reader.done:
            self.close()
            self._exhausted = True
        if read is None or (not read.rows and read.dead_letters is None and read.position == start):
            self.dry = not self._exhausted
            return None
        if read.is_anew:
            self._to_skip = 0
        vetted = self._vetting.vet(read, self.split.id, self._reached_us)
        self.rows_fetched += read.rows
        self._at = read.position
        start_bytes, self._bytes_before = self._bytes_before, max(self._bytes_before, self._bytes_before_end(read))
        if vetted.max_time_us is not None:
            self._reached_us = max(vetted.max_time_us, self._reached_us or vetted.max_time_us)
        drop = min(self._to_skip, vetted.rows)
        self._to_skip -= drop
        piece = ReadChunk(
            cursor=self,
            frame=vetted.frame,
            rows=vetted.rows,
            max_time_us=vetted.max_time_us,
            letters=vetted.letters,
            start=start,
            end=read.position,
            skip_after=self._to_skip,
            taken=drop,
            min_time_us=vetted.min_time_us,
            skipped=drop,
            start_bytes=start_bytes,
            end_bytes=self._bytes_before,
        )
        self.queued += 1
        return piece

    def given(self, piece: ReadChunk, rows: int) -> int:
        """Note that rows of a piece were given out, and return how many bytes of the file that were."""
        self.begun = True
        self.rows_given += rows
        if piece.left:
            self.position, self.skip = piece.start, piece.taken
        else:
            self.position, self.skip = piece.end, piece.skip_after
            self.queued -= 1
        before, self.bytes_given = self.bytes_given, piece.bytes_given
        return self.bytes_given - before

    def progress(self, watermark_us: int, *, finished: bool = False) -> SplitProgress:
        """Return how far it has been given out; its watermark is kept elsewhere."""
        return SplitProgress(
            self.position, self.skip, watermark_us, finished=finished, rows=self.rows_given, bytes=self.bytes_given
        )

    def _bytes_before_end(self, read: Read) -> int:
        """Return the bytes of the split before the end of a read: where its rows are known, all have one length."""
        if self.split.bytes is None:
            return 0
        if read.end_bytes is not None:
            return read.end_bytes
        if self.split.rows and isinstance(read.position, int):
            return self.split.bytes * min(read.position, self.split.rows) // self.split.rows
        return self._bytes_before

    def wakeup_us(self, now_us: int) -> int | None:
        """Return when to read again; None: soon."""
        return self._reader.wakeup_us(now_us) if self._reader is not None else now_us

    def change_source(self, source: Source) -> None:
        """Go on with the same source at another pace."""
        self._source = source
        if self._reader is not None:
            self._reader.change_pace(source)

    def make_durable(self) -> None:
        """See to it that the positions given out so far can be opened after a power failure."""
        if self._reader is not None:
            self._reader.make_durable()

    def release(self, position: Position) -> None:
        """Tell the reader that no position before this one will be opened again."""
        if self._reader is not None:
            self._reader.release(position)

    def close(self) -> None:
        """Release the reader."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
