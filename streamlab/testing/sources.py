"""Sources for tests: frames in several splits, all there from the start or appearing in time, and logs on a disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

import polars as pl

from streamlab.connectors.contracts.source import START, Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing
from streamlab.core.event_time.time import time_us
from streamlab.frame.stream_frame import StreamFrame
from streamlab.job.sources import stream


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

    def may_change(self, appearing: Mapping[str, pl.DataFrame]) -> bool:
        """Return whether there is something to come, of what is to appear in all."""
        return bool(self.written) or len(self.frames) < len(appearing)

    def change(self, random: Random, appearing: Mapping[str, pl.DataFrame], known: Collection[str]) -> str:
        """Let a split appear, grow, or be listed no more when it is `known`; return what there is."""
        changes: list[Callable[[], None]] = [partial(self.grow, name, 1 + random.randrange(9)) for name in self.written]
        new = next((name for name in appearing if name not in self.frames), None)
        if new is not None:
            changes.append(partial(self.put, new, appearing[new], random.choice((None, 0, 3))))
        changes += [partial(self.hidden.add, name) for name in sorted(set(known) - self.hidden)]
        random.choice(changes)()
        return f"there are {list(self.frames)}, of which {self.written} grow and {sorted(self.hidden)} are hidden"

    def forget(self) -> None:
        """Let everything be listed again, for a job that begins anew."""
        self.hidden.clear()

    def close(self) -> None:
        """Let go of what is there outside of memory."""

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


@dataclass
class _Text:
    """What a file holds between two times that it is emptied.

    Attributes
    ----------
    rows : list[int]
        The numbers of its whole lines.
    is_safe : bool
        Whether nothing of it can be lost.
    """

    rows: list[int] = field(default_factory=list)
    is_safe: bool = True


class Logs(Shelf):
    """Files of lines that a program writes and others rotate, on a disk: by names, by copies, or by deleting them.

    Parameters
    ----------
    lines
        About how many are written in all.
    """

    NAMES = ("a.ndjson", "b.ndjson")

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="streamlab-logs-")
        self._ends = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._lines = lines
        self._texts: list[_Text] = []
        self._written: dict[str, _Text] = {}
        """Texts by the files that are written, those behind them included."""
        self._begun: set[str] = set()
        """Files that end in the middle of a line."""
        self.rows = self._changes = 0
        for name in self.NAMES:
            self._write(name, 1)

    @property
    def paths(self) -> list[str]:
        """The files that are followed."""
        return [os.path.join(self.folder, name) for name in self.NAMES]

    def may_change(self, appearing: Mapping[str, pl.DataFrame]) -> bool:
        """Return whether more is to be written."""
        return self.rows < self._lines

    def change(self, random: Random, appearing: Mapping[str, pl.DataFrame], known: Collection[str]) -> str:
        """Let one thing happen to a file, and return what it was."""
        name = random.choice(self.NAMES)
        does = random.choices(
            (self._write_some, self._begin_line, self._rename, self._copy_and_empty, self._delete), (8, 2, 3, 1, 1)
        )[0]
        return f"{does.__name__.strip('_').replace('_', ' ')} {name}: {does(name, random)}"

    def close(self) -> None:
        """Delete the files."""
        self._ends()

    def missing(self, rows: Collection[int]) -> list[int]:
        """Return the rows that are not among these, though nothing can have been lost of their texts."""
        safe = {n for text in self._texts if text.is_safe for n in text.rows}
        return sorted(safe - set(rows))

    def is_in_order(self, rows: Collection[int]) -> bool:
        """Return whether of each text there are the first ones, up to where it was lost."""
        there = set(rows)
        found = [[n in there for n in text.rows] for text in self._texts]
        return all(one == sorted(one, reverse=True) for one in found)

    # -- what happens --------------------------------------------------------------------------------------------

    def _write_some(self, name: str, random: Random) -> str:
        return self._write(name, 1 + random.randrange(4))

    def _begin_line(self, name: str, random: Random) -> str:
        if name not in self._begun:
            self._begun.add(name)
            self._add(name, '{"n"')
        return "begins a line"

    def _rename(self, name: str, random: Random) -> str:
        """Let all names move up by one, as often as chance has it; who writes goes on for a moment."""
        times = random.choice((1, 1, 1, 2, 3))
        for _ in range(times):
            self._write(name, 1)
            self._move_up(name)
            os.rename(self._path(name), self._path(f"{name}.1"))
            self._written[f"{name}.1"] = self._written.pop(name)
            if random.random() < 0.3:  # noqa: PLR2004 - now and then
                self._write(f"{name}.1", 1)
        if random.random() < 0.7:  # noqa: PLR2004 - mostly at once
            self._write(name, 1)
        return f"{times} times"

    def _copy_and_empty(self, name: str, random: Random) -> str:
        if name not in self._written:
            return "is not there"
        self._write(name, 1)
        self._move_up(name)
        shutil.copyfile(self._path(name), self._path(f"{name}.1"))
        self._touch(f"{name}.1")
        os.truncate(self._path(name), 0)
        self._written.pop(name).is_safe = False
        return self._write(name, 1)

    def _delete(self, name: str, random: Random) -> str:
        behind = sorted(other for other in os.listdir(self.folder) if other.startswith(name))
        if not behind:
            return "is not there"
        gone = random.choice(behind)
        os.unlink(self._path(gone))
        self._begun.discard(gone)
        text = self._written.pop(gone, None)
        if text is not None:
            text.is_safe = False
        return f"{gone} is gone"

    def _move_up(self, name: str) -> None:
        numbers = [int(one.rpartition(".")[2]) for one in os.listdir(self.folder) if one.startswith(f"{name}.")]
        for number in sorted(numbers, reverse=True):
            before, after = f"{name}.{number}", f"{name}.{number + 1}"
            os.rename(self._path(before), self._path(after))
            if before in self._written:
                self._written[after] = self._written.pop(before)

    def _write(self, name: str, count: int) -> str:
        if name not in self._written:
            self._texts.append(_Text())
            self._written[name] = self._texts[-1]
        for _ in range(count):
            line = f'{{"n": {self.rows}}}\n'
            self._add(name, line.removeprefix('{"n"') if name in self._begun else line)
            self._begun.discard(name)
            self._written[name].rows.append(self.rows)
            self.rows += 1
        return f"{count} lines"

    def _add(self, name: str, text: str) -> None:
        if name not in self._written:
            self._texts.append(_Text())
            self._written[name] = self._texts[-1]
        with open(self._path(name), "a", encoding="ascii") as file:
            file.write(text)
        self._touch(name)

    def _touch(self, name: str) -> None:
        """Let each change have a time of its own, however fast they follow each other."""
        self._changes += 1
        os.utime(self._path(name), (self._changes, self._changes))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


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
