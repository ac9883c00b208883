"""The source that reads files: which there are, what their paths say of them, and a reader for each.

- A file is read whole or not at all, once. One that cannot be opened, is damaged, or has another schema goes to the
  dead letters with its name and the difference. Columns that are new are left out, which a dead letter says; dtypes
  that lose nothing are cast. With ``schema_policy="coerce"`` a missing column is null, a new one is dropped, and
  another dtype is cast, row by row.
- A followed file is read when it has been left alone for a while: its size and time of change are the same in two looks
  (or were, long before the first look). Renaming a finished file into the folder is the safe way to hand it over. One
  that changes after it was read is said to have done so (:mod:`.changed_files`).
- With ``follow="append"`` files are read on as they grow (:mod:`.growing_files`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Literal

import polars as pl

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.connectors.contracts.source import START, Position, Read, Source, Split, SplitFinder, SplitReader
from streamlab.connectors.files.changed_files import CHANGED, ChangeReader, ReadFiles
from streamlab.connectors.files.growing_files import (
    ANEW,
    LOG,
    FileKey,
    GrowingFiles,
    GrowingFinder,
    key_of,
    path_of,
)
from streamlab.connectors.files.growing_reader import GrowingReader, NothingToRead
from streamlab.connectors.files.listing import FileListing
from streamlab.connectors.files.path_columns import PathColumns
from streamlab.connectors.files.paths import HAS_WILDCARD
from streamlab.connectors.formats.base import UNREADABLE, FileRefused, Format, SchemaPolicy, Target, first_line
from streamlab.connectors.formats.text import TextParser
from streamlab.core.errors import InternalError
from streamlab.core.event_time.time import time_us

Follow = bool | Literal["append"]

SETTLE_US = 500_000
"""How long a followed file must stay as it is between two looks."""
_LONG_AGO_US = 5_000_000
_PART = "#part="


@dataclass(frozen=True)
class FileSource(Source):
    """Reads files of one format.

    Attributes
    ----------
    format : Format
        How they are read.
    paths : tuple[str, ...]
        Absolute paths, globs and folders.
    follow : bool | "append"
        Whether new files are waited for, and whether files are read on as they grow.
    policy : {"strict", "coerce"}
        What happens to a file with another schema.
    beside : PathColumns
        Columns that the files do not hold.
    glob : bool
        Whether wildcards in paths mean anything.
    was_read : ReadFiles
        Of a source that is followed, by this process.
    rotated : tuple[FileKey, ...]
        Of files that are read on as they grow: those with names like theirs that were there when the source was made.
    growing : GrowingFiles
        What this process knows of such files.
    """

    format: Format
    paths: tuple[str, ...]
    follow: Follow = False
    policy: SchemaPolicy = field(default="strict")
    beside: PathColumns = field(default_factory=PathColumns)
    glob: bool = True
    was_read: ReadFiles = field(default_factory=ReadFiles, compare=False, repr=False)
    rotated: tuple[FileKey, ...] = field(default=(), compare=False, repr=False)
    growing: GrowingFiles = field(default_factory=GrowingFiles, compare=False, repr=False)

    @property
    def kind(self) -> str:
        """The format of the files."""
        return f"{type(self.format).__name__.removesuffix('Format').lower()} files"

    @property
    def bounded(self) -> bool:
        """Unless files are followed."""
        return not self.follow

    @property
    def grows(self) -> bool:
        """Whether files are read on as they grow."""
        return self.follow == "append"

    @property
    def discovers(self) -> bool:
        """Whether files are followed."""
        return bool(self.follow)

    @property
    def max_parallelism(self) -> int | None:
        """One when files are followed, so that no subtask runs ahead of a file that another one has just found."""
        return 1 if self.follow else None

    def splits(self) -> Sequence[Split]:
        """List files, or their parts; looks into each for its times, if there is an event time."""
        if self.grows:
            return self.finder(lambda _: True).find()
        return self.splits_of(self.listing().new_files())

    def listing(self, *, may_be_gone: bool = False) -> FileListing:
        """Return what tells which files there are; of what is followed, a folder may be away for a while."""
        return FileListing(
            self.name,
            self.paths,
            self.format.suffixes,
            may_be_gone=may_be_gone,
            leaves_hidden=bool(self.follow),
            glob=self.glob,
        )

    def splits_of(self, files: Iterable[str]) -> Sequence[Split]:
        """Return files, or their parts, as splits; a followed file is never cut."""
        out = []
        for path in files:
            parts = self.format.parts(self._target(path))
            if self.follow:
                named = [replace(parts[0], id=path, rows=None)]
            elif len(parts) == 1:
                named = [replace(parts[0], id=path)]
            else:
                named = [replace(part, id=f"{path}{_PART}{part.id}") for part in parts]
            shared = named if self.follow else _with_bytes(named, path)
            out += [self._timed(part, path) for part in shared]
        return out

    def finder(self, wanted: Callable[[str], bool], open_now: Collection[str] = ()) -> SplitFinder:
        """Return what finds files that appear."""
        if not self.grows:
            return _FileFinder(self, wanted)
        listing, known = self.listing(may_be_gone=True), self.growing
        return GrowingFinder(
            listing,
            lambda path: self._parser(self._target(path)),
            known,
            old=self.rotated,
            named=[path for path in self.paths if not (self._is_glob(path) or os.path.isdir(path))],
            wanted=wanted,
            open_now=open_now,
        )

    def _is_glob(self, path: str) -> bool:
        return self.glob and HAS_WILDCARD.search(path) is not None

    def find(self, ids: Collection[str]) -> Sequence[Split]:
        """Return those of the files that are there."""
        if not self.follow:
            return super().find(ids)
        told = [Split(name, 0) for name in ids if CHANGED in name]
        if self.grows:
            return [*(Split(name) for name in ids if LOG in name), *told]
        return [*self.splits_of(path for path in ids if os.path.exists(path)), *told]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start reading a file, or a part of it."""
        if self.follow and CHANGED in split.id:
            path, _, how = split.id.rpartition(CHANGED)
            return ChangeReader(replace(self._target(path), schema=self.schema), how, position)
        if self.grows:
            return NothingToRead() if split.id.endswith(ANEW) else self._growing(split.id, position)
        path, _, part = split.id.rpartition(_PART) if _PART in split.id else (split.id, "", "")
        opens = _Opening(self._target(path), self.format, part, self.beside, self.schema, self.timing.event_time)
        return _FileReader(opens, position, self.was_read if self.follow else None)

    def describe(self) -> str:
        """Say which paths, and whether they are followed."""
        shown = ", ".join(self.paths[:3]) + (", …" if len(self.paths) > 3 else "")  # noqa: PLR2004 - what fits a line
        how = " (read on as they grow)" if self.grows else " (followed)" if self.follow else ""
        return f"{self.name}: {shown}{how}"

    def _growing(self, split: str, position: Position) -> SplitReader:
        key = key_of(split)
        target = self._target(path_of(key, self.growing) or os.path.join(key[0], f"file {key[1]}"))
        reader = GrowingReader(split, target, self._parser, position, self.growing)
        opening = _Opening(target, self.format, "", self.beside, self.schema, self.timing.event_time)
        return _Beside(reader, opening) if self.beside.schema else reader

    def _parser(self, target: Target) -> TextParser:
        parser = self.format.text_parser(target)
        if parser is None:
            text = f"{self.kind} cannot be read on as they grow"
            raise InternalError(text)
        return parser

    def _target(self, path: str) -> Target:
        added = self.beside.schema
        inside = pl.Schema({name: dtype for name, dtype in self.schema.items() if name not in added})
        timing = replace(self.timing, event_time=None) if self.timing.event_time in added else self.timing
        return Target(self.name, path, inside, self.policy, timing, frozenset(added))

    def _timed(self, split: Split, path: str) -> Split:
        """Return a split with the event time that a file's path tells, if it is that which does."""
        column = self.timing.event_time
        if column is None or column not in self.beside.schema:
            return split
        try:
            us = self.beside.of(path).select(time_us(column)).item()
        except FileRefused:
            return split  # what is wrong with the file is said when it is read
        return replace(split, min_time_us=us, first_time_us=us)


def _with_bytes(parts: Sequence[Split], path: str) -> list[Split]:
    """Return the parts of a file, each with its share of the bytes on disk: as large as that of the rows."""
    try:
        size = os.path.getsize(path)
    except OSError:
        return list(parts)  # what is wrong with the file is said when it is read
    ends = list(accumulate((part.rows or 0 for part in parts), initial=0))
    cuts = [size * rows // max(1, ends[-1]) for rows in ends[:-1]] + [size]
    return [replace(part, bytes=end - begin) for part, (begin, end) in zip(parts, pairwise(cuts), strict=True)]


class _FileFinder(SplitFinder):
    """Finds files that appear, and some that changed; only those that are wanted are looked into."""

    def __init__(self, source: FileSource, wanted: Callable[[str], bool]) -> None:
        self._source, self._wanted = source, wanted
        self._listing = source.listing(may_be_gone=True)

    def find(self) -> Sequence[Split]:
        wanted = []
        for path in self._listing.new_files():
            if self._wanted(path):
                wanted.append(path)
            else:
                self._source.was_read.add(path, is_opened=False)
        changed = [split for split in self._source.was_read.changed() if self._wanted(split.id)]
        return [*self._source.splits_of(wanted), *changed]


@dataclass(frozen=True)
class _Opening:
    """How one file, or a part of it, is opened, and what is put beside its rows."""

    target: Target
    format: Format
    part: str
    beside: PathColumns
    schema: pl.Schema
    event_time: str | None

    def open(self, position: Position) -> SplitReader:
        inner = self.format.open(self.target, self.part, position)
        return _Beside(inner, self) if self.beside.schema else inner


class _Beside(SplitReader):
    """Puts the columns that a file's path tells beside its rows."""

    def __init__(self, inner: SplitReader, opening: _Opening) -> None:
        self._inner, self._names = inner, opening.schema.names()
        values = opening.beside.of(opening.target.path)
        self._values = [pl.lit(column).alias(column.name) for column in values.get_columns()]
        self._is_timed = opening.event_time in values.columns

    @property
    def done(self) -> bool:
        return self._inner.done

    def read(self, limit: int, now_us: int) -> Read | None:
        read = self._inner.read(limit, now_us)
        if read is None:
            return None
        frame = read.frame.lazy().with_columns(self._values).select(self._names)
        # A time that is the same for all rows is not in any statistics.
        is_lazy = isinstance(read.frame, pl.LazyFrame) and not self._is_timed
        return replace(read, frame=frame if is_lazy else frame.collect())

    def wakeup_us(self, now_us: int) -> int | None:
        return self._inner.wakeup_us(now_us)

    def close(self) -> None:
        self._inner.close()


class _FileReader(SplitReader):
    """Opens a file when its time has come; what is wrong with it becomes a dead letter that ends it."""

    def __init__(self, opening: _Opening, position: Position, was_read: ReadFiles | None) -> None:
        self._opening, self._target, self._position = opening, opening.target, position
        self._was_read = was_read
        """Of a followed file: where it is noted how it was when it was opened."""
        self._waits = was_read is not None and position == START
        self._seen: tuple[int, tuple[int, int]] | None = None
        self._inner: SplitReader | None = None
        self._broken = False

    @property
    def done(self) -> bool:
        return self._broken or (self._inner is not None and self._inner.done)

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.done:
            return None
        try:
            if self._waits and not self._is_settled(now_us):
                return None
            if self._inner is None:
                if self._was_read is not None:
                    self._was_read.add(self._target.path, is_opened=True)
                self._inner = self._opening.open(self._position)
                if self._inner.done:
                    return None
            read = self._inner.read(limit, now_us)
        except (FileRefused, *UNREADABLE) as error:
            return self._refuse(error)
        if read is not None:
            self._position = read.position
        return read

    def wakeup_us(self, now_us: int) -> int | None:
        """While the file may still be written: when to look again."""
        if self._waits and self._seen is not None:
            return self._seen[0] + SETTLE_US
        return now_us

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def _is_settled(self, now_us: int) -> bool:
        state = os.stat(self._target.path)
        look = (state.st_size, state.st_mtime_ns)
        old = state.st_mtime_ns // 1000 + _LONG_AGO_US < now_us
        if self._seen is None or self._seen[1] != look:
            self._seen = (now_us, look)
        elif now_us - self._seen[0] >= SETTLE_US:
            old = True
        self._waits = not old
        return old

    def _refuse(self, error: Exception) -> Read:
        self._broken = True
        begun = self._position != START
        reason = str(error) if isinstance(error, FileRefused) else f"cannot be read: {first_line(error)}"
        if begun:
            reason = f"the rest {reason}"
        dead = letters(self._target.step, [(reason, os.path.basename(self._target.path), self._target.path)])
        return Read(pl.DataFrame(schema=self._opening.schema), self._position, 0, dead_letters=dead)
