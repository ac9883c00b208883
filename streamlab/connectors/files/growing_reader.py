"""Reads one file that grows: see :mod:`.growing_files`.

A position is ``(byte offset of a chunk, number of its first line, rows taken from it, its end, mark)``; then come, if
there is something, what was said of the file once and for all, and the places up to which it was read when it was
emptied, the last ones, which tell copies of those texts. The end is 0
while nothing is taken: then the chunk is as long as the file has whole records by then. The mark is of what stands
before the end, or before the offset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import IO

import polars as pl

from streamlab.connectors.contracts.dead_letters import Letter, letters
from streamlab.connectors.contracts.source import Position, Read, SplitReader
from streamlab.connectors.files.growing_files import (
    GrowingFiles,
    Place,
    begins_of,
    digest_of,
    first_record,
    key_of,
    mark_at,
)
from streamlab.connectors.formats.base import UNREADABLE, FileRefused, Target, first_line
from streamlab.connectors.formats.encodings import UTF8, Encoding
from streamlab.connectors.formats.text import CHUNK_BYTES, Parsed, TextParser

_KEPT = 4
"""So many texts are known that a file has held before."""
_GONE = "it is not there any more, and what was not read of it is lost"
_SHORTER = "it was emptied after it was read, and is read from its start: what it held meanwhile is lost"


class GrowingReader(SplitReader):
    """Reads on as the file grows.

    Parameters
    ----------
    split
        Id of the file.
    target
        Where it is now, and what its rows look like.
    parser
        Of a target.
    position
        Where to begin.
    known
        What this process knows of the files.
    """

    def __init__(
        self,
        split: str,
        target: Target,
        parser: Callable[[Target], TextParser],
        position: Position,
        known: GrowingFiles,
    ) -> None:
        self._key, self._begins = key_of(split), begins_of(split)
        self._known, self._target = known, target
        self._new_parser = parser
        self._parser = parser(self._target)
        self._encoding: Encoding = UTF8
        self._file: IO[bytes] | None = _opened(target.path, self._key[1])
        self._offset, self._line, self._taken, self._end, self._mark = 0, 1, 0, 0, ""
        self._before: tuple[Place, ...] = ()
        """Up to where it was read when it was emptied."""
        match position:
            case (int(offset), int(line), int(taken), int(end), str(mark), *more):
                self._offset, self._line, self._taken, self._end, self._mark = offset, line, taken, end, mark
                if more:
                    self._parser.recall(str(more[0]))
                    self._before = tuple(
                        (int(end), str(mark)) for end, mark in zip(more[1::2], more[2::2], strict=True)
                    )
                self._note_place()
        self._has_begun = False
        self._chunk: Parsed | None = None
        self._chunk_end = (0, 1)
        self._size = -1
        self._grown_us: int | None = None
        """When it was seen to have another size."""
        self._left_at: int | None = None
        """The look after which it was found to have other text, and no followed name."""
        self._done = False

    @property
    def done(self) -> bool:
        """Whether it is gone, no file of the source, or was read to its end under a name that nobody follows."""
        return self._done

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows, and the bad records between them; None when there is no whole record."""
        if self._done:
            return None
        if self._file is None:
            return self._refuse(_GONE)
        try:
            anew = self._chunk is None and self._was_emptied(self._file)
            if anew and not self._is_same(self._file):
                return self._leave()
            if self._is_copy(self._file):
                return None
            return self._read(self._file, limit, now_us, anew=anew)
        except (FileRefused, *UNREADABLE) as error:
            said = str(error) if isinstance(error, FileRefused) else f"cannot be read: {first_line(error)}"
            return self._refuse(said)

    def wakeup_us(self, now_us: int) -> int | None:
        """In a quarter of a second."""
        return now_us if self._chunk is not None else now_us + self._known.look_us

    def close(self) -> None:
        """Close the file."""
        self._known.unread.discard(self._key)
        if self._done:
            self._known.over.add(self._key)
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _position(self) -> Position:
        told = self._parser.told
        more: list[int | str] = [told] if told or self._before else []
        for place in self._before:
            more += place
        return (self._offset, self._line, self._taken, self._end, self._mark, *more)

    def _note_place(self) -> None:
        """Tell the finder up to where the file is read, so that it knows a copy."""
        for place in (*self._before, (self._end or self._offset, self._mark)):
            self._known.note_place(self._key, place)

    # -- rows ----------------------------------------------------------------------------------------------------

    def _is_same(self, file: IO[bytes]) -> bool:
        """Return whether a file that has other text is the one that was read: it has its name, or is known to."""
        if not self._known.has_looked:
            return False
        head = None if self._known.may_grow(self._key) else first_record(file, self._new_parser(self._target))
        return self._known.may_grow(self._key) or (
            head is not None and self._known.was_told(self._key, digest_of(head))
        )

    def _leave(self) -> Read | None:
        """End a file that has other text and no followed name, when copies of what it held have been found.

        Nobody empties a file that was renamed: another one has its number, or it was emptied before. Then the finder
        takes it for a new one.
        """
        if self._left_at is None and self._known.has_looked:
            self._left_at = self._known.looks
        is_sure = self._left_at is not None and self._known.looks > self._left_at + 1
        return self._refuse(_GONE) if is_sure and not self._known.must_stay(self._key) else None

    def _is_copy(self, file: IO[bytes]) -> bool:
        """Return whether it is a copy, of which nothing is read, or that is not known yet."""
        if self._mark or (self._known.has_looked and self._known.may_grow(self._key)):
            return False
        self._known.unread.add(self._key)
        is_copy = self._known.is_copy(self._key, file)
        if is_copy:
            self._done = True
            self._known.read.discard(self._key)
        return is_copy is not False

    def _read(self, file: IO[bytes], limit: int, now_us: int, *, anew: bool) -> Read | None:
        found = [self._letter(_SHORTER)] if anew else []
        if anew:
            self._begin_anew()
        frame = self._rows(file, limit, now_us, found)
        self._note_place()
        if not frame.height and not found:
            return None
        return Read(frame, self._position, frame.height, dead_letters=letters(self._target.step, found), is_anew=anew)

    def _rows(self, file: IO[bytes], limit: int, now_us: int, found: list[Letter]) -> pl.DataFrame:
        frames: list[pl.DataFrame] = []
        rows = 0
        while rows < limit:
            # It may have been emptied while the last chunk was given out: then the next call begins anew.
            if self._chunk is None and ((frames and self._was_emptied(file)) or not self._load(file, now_us, found)):
                break
            chunk = self._chunk
            if chunk is None:
                break
            part = chunk.frame.slice(self._taken, limit - rows)
            frames.append(part)
            rows += part.height
            self._taken += part.height
            if self._taken >= chunk.frame.height:
                (self._offset, self._line), self._taken, self._end, self._chunk = self._chunk_end, 0, 0, None
        return pl.concat(frames) if frames else pl.DataFrame(schema=self._target.schema)

    def _load(self, file: IO[bytes], now_us: int, found: list[Letter]) -> bool:
        """Read the next chunk; False when there is no whole record, and the file may have ended by that."""
        size = os.fstat(file.fileno()).st_size
        if size != self._size or self._grown_us is None:
            self._size, self._grown_us = size, now_us
        is_quiet = now_us - self._grown_us >= self._known.quiet_us
        ends = is_quiet and not self._known.may_grow(self._key)
        if not self._has_begun and not self._begin(file, found, ends=ends):
            return False
        data, length = self._whole_records(file, size, ends=ends, is_quiet=is_quiet)
        if not length:
            if ends and not self._known.must_stay(self._key):
                self._finish(file)
            return False
        self._chunk = self._parser.parse(data, self._line)
        self._chunk_end = (self._offset + length, self._line + data.count(b"\n"))
        if not self._taken:
            found += self._letters_of(self._chunk.bad)
        self._end = self._offset + length
        self._mark = mark_at(file, self._end)
        self._note_place()
        return True

    def _begin(self, file: IO[bytes], found: list[Letter], *, ends: bool) -> bool:
        """Look at what stands before the first record, once that is there."""
        head = first_record(file, self._parser)
        if head is None:
            if not ends:
                return False
            head = os.pread(file.fileno(), CHUNK_BYTES, 0)
        self._encoding = self._parser.encoding.of_file(head)
        text = self._encoding.text(head)
        start, lines = self._parser.begin(text)
        if not self._mark:
            self._offset, self._line = self._encoding.raw_length(head, text, start), lines + 1
            self._mark = mark_at(file, self._offset)
            found += self._letters_of(self._parser.news)
        self._has_begun = True
        if (digest := digest_of(head)) != self._begins:
            self._known.anew.add((self._key, digest))
        return True

    def _whole_records(self, file: IO[bytes], size: int, *, ends: bool, is_quiet: bool) -> tuple[bytes, int]:
        """Return the text of the next records, and how many bytes of the file it is."""
        wanted = self._end - self._offset if self._end else CHUNK_BYTES
        while True:
            raw = os.pread(file.fileno(), wanted, self._offset)
            text = self._encoding.text(raw)
            if self._end:  # A chunk of which rows were taken before.
                return text, len(raw)
            is_all = self._offset + len(raw) >= size
            if ends and is_all:
                return text, len(raw)
            cut = self._parser.cut(text)
            if not cut and is_all and is_quiet:
                cut = text.rfind(b"\n") + 1
            if cut:
                return text[:cut], self._encoding.raw_length(raw, text, cut)
            if is_all:
                return b"", 0
            wanted *= 2

    # -- the file ------------------------------------------------------------------------------------------------

    def _was_emptied(self, file: IO[bytes]) -> bool:
        return bool(self._mark) and mark_at(file, self._end or self._offset) != self._mark

    def _begin_anew(self) -> None:
        self._before = (*self._before, (self._end or self._offset, self._mark))[-_KEPT:]
        self._offset, self._line, self._taken, self._end, self._mark = 0, 1, 0, 0, ""
        self._parser, self._has_begun = self._new_parser(self._target), False

    def _finish(self, file: IO[bytes]) -> None:
        self._done = True
        self._known.ended[self._key] = (self._offset, mark_at(file, self._offset))
        path = self._known.names.get(self._key)
        if path is not None:
            self._known.was_read.add(path, is_opened=True)

    def _refuse(self, reason: str) -> Read:
        self._done = True
        self._known.unread.discard(self._key)
        self._note_place()
        frame = pl.DataFrame(schema=self._target.schema)
        return Read(frame, self._position, 0, dead_letters=letters(self._target.step, [self._letter(reason)]))

    def _letters_of(self, bad: Sequence[tuple[int, str, str]]) -> list[Letter]:
        return [(why, text, f"{self._target.path}:{line}") for line, why, text in bad]

    def _letter(self, reason: str) -> Letter:
        return reason, os.path.basename(self._target.path), self._target.path


class NothingToRead(SplitReader):
    """Reads what another split reads: nothing."""

    @property
    def done(self) -> bool:
        """Always."""
        return True

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return nothing."""
        return None


def _opened(path: str, number: int) -> IO[bytes] | None:
    """Return a file, if it is the one that is meant."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - it stays open, so that a renamed or deleted file is read on
    except OSError:
        return None
    if os.fstat(file.fileno()).st_ino == number:
        return file
    file.close()
    return None
