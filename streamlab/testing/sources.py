"""Sources for tests: frames in memory in several splits, all there from the start, or such as appear in time."""

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
            earliest, first = None, None
            if column and self.knows_times and frame.height:
                earliest, first = frame.select(earliest=time_us(column).min(), first=time_us(column).first()).row(0)
            splits.append(Split(str(number), frame.height, earliest, first))
        return splits

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a row."""
        return _Reader(self.frames[int(split.id)], position if isinstance(position, int) else START)


@dataclass
class Shelf:
    """What :class:`FollowedFrames` finds: frames that appear one after the other, and grow.

    Attributes
    ----------
    frames : dict[str, pl.DataFrame]
        All rows of each split that there is, by id.
    written : dict[str, int]
        How many of a split's rows can be read, as long as not all of them are there for good.
    hidden : set[str]
        Splits that are listed no more, as when a server has forgotten their names; what was found can be read.
    """

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def put(self, name: str, frame: pl.DataFrame, written: int | None = None) -> None:
        """Let a split appear, whole or with its first rows."""
        self.frames[name] = frame
        if written is not None:
            self.written[name] = written

    def grow(self, name: str, rows: int) -> None:
        """Write more rows of a split; behind the last one nothing comes."""
        written = self.written.pop(name) + rows
        if written < self.frames[name].height:
            self.written[name] = written


@dataclass(frozen=True)
class FollowedFrames(Source):
    """Reads frames as they appear, without end, in as many subtasks as there are.

    Attributes
    ----------
    shelf : Shelf
        Where they appear.
    """

    shelf: Shelf = field(repr=False, compare=False, default_factory=Shelf)

    @property
    def bounded(self) -> bool:
        """Never: another one may appear."""
        return False

    @property
    def discovers(self) -> bool:
        """Always."""
        return True

    def splits(self) -> Sequence[Split]:
        """One for each frame that is listed."""
        return [Split(name) for name in self.shelf.frames if name not in self.shelf.hidden]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a row."""
        return _GrowingReader(self.shelf, split.id, position if isinstance(position, int) else 0)


class _GrowingReader(SplitReader):
    def __init__(self, shelf: Shelf, name: str, row: int) -> None:
        self._shelf, self._name, self._row = shelf, name, row

    @property
    def done(self) -> bool:
        """Whether all rows have been read, and no more will be written."""
        return self._name not in self._shelf.written and self._row >= self._shelf.frames[self._name].height

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows that were written."""
        there = self._shelf.written.get(self._name, self._shelf.frames[self._name].height)
        rows = self._shelf.frames[self._name].slice(self._row, min(limit, there - self._row))
        self._row += rows.height
        return Read(rows, self._row, rows.height) if rows.height else None


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
