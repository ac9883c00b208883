"""A source for tests: frames in memory in several splits, so that several subtasks read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from streamlab.connectors.source import START, Position, Read, Source, Split, SplitReader
from streamlab.connectors.timing import timing
from streamlab.core.time import time_us
from streamlab.frame.stream_frame import StreamFrame
from streamlab.session.sources import stream


@dataclass(frozen=True)
class SplitFrames(Source):
    """Reads frames, one split each.

    Attributes
    ----------
    frames : tuple[pl.DataFrame, ...]
        All with the source's schema.
    knows_times : bool
        Whether splits say their earliest time, so that unread ones need not hold the watermark back entirely.
    """

    frames: tuple[pl.DataFrame, ...] = field(repr=False)
    knows_times: bool = True

    @property
    def bounded(self) -> bool:
        """Always."""
        return True

    def splits(self) -> Sequence[Split]:
        """One for each frame."""
        column = self.timing.event_time
        splits = []
        for number, frame in enumerate(self.frames):
            earliest = frame.select(time_us(column).min()).item() if column and self.knows_times else None
            splits.append(Split(str(number), frame.height, earliest))
        return splits

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a row."""
        return _Reader(self.frames[int(split.id)], position if isinstance(position, int) else START)


class _Reader(SplitReader):
    def __init__(self, frame: pl.DataFrame, position: Position) -> None:
        self._frame = frame
        self._row = position if isinstance(position, int) else 0

    @property
    def done(self) -> bool:
        """Whether all rows have been read."""
        return self._row >= self._frame.height

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows."""
        if self.done:
            return None
        rows = self._frame.slice(self._row, limit)
        self._row += rows.height
        return Read(rows, self._row, rows.height)


def split_frames(
    frames: Sequence[pl.DataFrame],
    *,
    event_time: str | None = None,
    watermark: str | None = None,
    knows_times: bool = True,
    name: str = "splits",
) -> StreamFrame:
    """Return a stream over several splits, which several subtasks can share.

    Parameters
    ----------
    frames
        The splits' rows; at least one frame, all with the same columns.
    event_time, watermark
        As every source takes them.
    knows_times
        Whether splits say their earliest time before they are read.
    name
        The source's.
    """
    said = timing(event_time, watermark)
    return stream(SplitFrames(name, frames[0].schema, tuple(frames), knows_times, timing=said))
