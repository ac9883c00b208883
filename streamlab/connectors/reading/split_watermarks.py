"""Where one source subtask is in event time: the watermarks and the idleness of its splits, combined.

Rules
-----
- A split's watermark follows the rows that it gave out, from the data alone: the delay and one tick behind the latest.
  Before its first row it is just below the split's earliest time, as far as that is known beforehand.
- The subtask's watermark is the minimum over its splits that are not idle. A split that has ended no longer counts.
- All ended splits of a source that discovers splits count as one, and only while there is no other: so the watermark
  stays where it is between two splits, and the subtask is idle when no new one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamlab.connectors.contracts.source import Source, Split
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress
from streamlab.connectors.reading.split_cursor import SplitCursor
from streamlab.core.event_time.row_watermarks import is_marked, lowered, raised, watermarks_before
from streamlab.core.event_time.time import MIN_TIME_US, tick_us
from streamlab.core.event_time.watermarks import IdleClock, PartitionWatermarks, messages
from streamlab.core.messages import Message

_ENDED = ""
"""Stands, in the combined watermark, for all splits of a discovering source that have ended."""


class SplitWatermarks:
    """Event time of one source subtask.

    Parameters
    ----------
    source
        Says what the delay and the idle timeout are.
    restored
        Where to go on.
    """

    def __init__(self, source: Source, restored: ReaderSnapshot) -> None:
        timing = source.timing
        self.combined = PartitionWatermarks.restore({"current": restored.watermark_us, "idle": False, "splits": []})
        self.latest_us = restored.latest_us
        """Latest event time that was given out."""
        self._delay_us = timing.watermark.fixed_us("watermark") if timing.watermark else None
        self._tick_us = tick_us(source.schema[timing.event_time]) if timing.event_time else 1
        self._idle_us = timing.idle_timeout.fixed_us("idle_timeout") if timing.idle_timeout else None
        self._column = timing.event_time
        self._judges_rows = timing.judges_rows
        self._discovers = source.discovers
        self._discovery_clock = IdleClock(self._idle_us) if self._idle_us else None
        self._idle: set[str] = set()
        if source.discovers:
            self.combined.add(_ENDED, restored.watermark_us)

    @property
    def follows_rows(self) -> bool:
        """Whether the source makes watermarks of its rows."""
        return self._delay_us is not None

    @property
    def current_us(self) -> int:
        """The combined watermark that was last given out."""
        return self.combined.current

    def of(self, split: str) -> int:
        """Return a split's own watermark."""
        return self.combined.watermark_of(split)

    def behind(self, latest_us: int) -> int:
        """Return the watermark that a row with this event time allows, if it is the latest."""
        return latest_us - self._behind_us

    def restored_us(self, splits: Collection[str]) -> int:
        """Return the watermark as of what the splits that have not ended had given out, before anything is read."""
        return max(self.current_us, min(map(self.of, splits), default=self.current_us))

    # -- splits --------------------------------------------------------------------------------------------------

    def latest_before(self, progress: SplitProgress) -> int | None:
        """Return the latest event time that a split had given out when this was noted; None when nothing is known."""
        return progress.watermark_us + self._behind_us if progress.watermark_us > MIN_TIME_US else None

    def add(self, cursor: SplitCursor, split: Split, progress: SplitProgress | None) -> None:
        """Start to count a split, which goes on from `progress` if it was begun before."""
        start_us = MIN_TIME_US
        if self._delay_us is not None and split.min_time_us is not None:
            start_us = split.min_time_us - self._tick_us
        if progress is not None:
            # Its rows have said where it is, and may have said less than what was known before.
            start_us = progress.watermark_us
        cursor.order_us = start_us
        cursor.clock = IdleClock(self._idle_us) if self._idle_us else None
        self.combined.add(split.id, start_us)
        if self._discovers:
            self.combined.on_idle(_ENDED, deferred=True)

    def observe(self, cursor: SplitCursor, latest_us: int | None) -> None:
        """Take note that a split gives out rows, whose latest event time this is."""
        if cursor.clock is not None:
            cursor.clock.activity()
        if latest_us is not None:
            self.latest_us = max(latest_us, self.latest_us if self.latest_us is not None else latest_us)
        name = cursor.split.id
        if latest_us is None or self._delay_us is None:
            self.combined.on_active(name, deferred=True)
            return
        if not cursor.begun:
            # From now on the split's rows say where it is, not what was known of it before.
            self.combined.remove(name)
            self.combined.add(name)
        self.combined.on_watermark(name, max(self.behind(latest_us), MIN_TIME_US), deferred=True)

    def is_behind(self, split: str) -> bool:
        """Return whether a split is behind what was last given out: it was found late, or has been idle."""
        return self.follows_rows and self._judges_rows and self.of(split) < self.current_us

    def judged(self, split: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Return rows of a split with what their watermarks are when those of the other splits count, too."""
        if is_marked(frame):
            frame = lowered(frame, self.combined.others_of(split), self.current_us)
        return raised(frame, self._column, self.current_us) if self.is_behind(split) else frame

    def before(self, cursor: SplitCursor, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the watermark that stood before each of a split's rows; `MIN_TIME_US` for none.

        To be asked before the combined watermark moves because of them.
        """
        if not self.follows_rows:
            return np.full_like(times_us, MIN_TIME_US)
        own = watermarks_before(times_us, cursor.latest_us, self._behind_us)
        # A split whose statistics tell a time before all others stands below what the column can hold.
        others_us = max(self.combined.others_of(cursor.split.id), MIN_TIME_US)
        return np.maximum(np.minimum(own, others_us), max(self.current_us, MIN_TIME_US))

    def end(self, split: str, *, is_last: bool) -> int:
        """Stop counting a split that has ended, the last of those that were counted or not; return its watermark."""
        watermark_us = self.of(split)
        self.combined.remove(split)
        if self._discovery_clock is not None:
            self._discovery_clock.activity()
        if self._discovers:
            self.combined.on_watermark(_ENDED, watermark_us, deferred=True)
            if not is_last:
                self.combined.on_idle(_ENDED, deferred=True)
        return watermark_us

    # -- idleness ------------------------------------------------------------------------------------------------

    def find_idle(
        self, cursors: Mapping[str, SplitCursor], now_us: int, *, awaits_none: bool, is_empty: bool
    ) -> list[str]:
        """Leave out the splits that have become idle, and return them; all that have ended count as one.

        Parameters
        ----------
        cursors
            The splits that were read and have not ended.
        now_us
            The wall clock.
        is_empty
            Whether there are none that have not ended, read or not.
        awaits_none
            Whether the subtask has never had a split and may well get none, so that nobody waits for it.
        """
        idle: set[str] = set()
        for name, cursor in cursors.items() if self._idle_us is not None else ():
            if cursor.clock is None:
                continue
            if not cursor.dry or cursor.queued:
                cursor.clock.activity()
            if cursor.clock.is_idle(now_us):
                self.combined.on_idle(name, deferred=True)
                idle.add(name)
        if self._discovers and is_empty:
            if awaits_none or (self._discovery_clock is not None and self._discovery_clock.is_idle(now_us)):
                self.combined.on_idle(_ENDED, deferred=True)
                idle.add(_ENDED)
        elif self._discovery_clock is not None:
            self._discovery_clock.activity()
        new, self._idle = idle - self._idle, idle
        return sorted(new)

    def idle(self, cursors: Mapping[str, SplitCursor]) -> list[str]:
        """Return the splits that do not count now."""
        names = [*cursors, _ENDED] if self._discovers else [*cursors]
        return sorted(name for name in names if self.combined.is_split_idle(name))

    def leave_out(self, splits: Collection[str]) -> None:
        """Take these splits for idle, whatever the clock says."""
        for name in splits:
            self.combined.on_idle(name, deferred=True)

    # -- what is said --------------------------------------------------------------------------------------------

    def emit(self) -> list[Message]:
        """Return the watermark and the idleness that follow from what is known now."""
        return messages(self.combined.emit())

    def advance(self, us: int) -> list[Message]:
        """Raise the combined watermark by hand."""
        return messages(self.combined.advance(us))

    @property
    def _behind_us(self) -> int:
        """How far a watermark stays behind the latest row."""
        return (self._delay_us or 0) + self._tick_us
