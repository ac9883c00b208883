"""The log of one recorded split, as it is read: a folder of segments, each a row of records.

A segment ``<number of its first record>.records`` holds records one behind the other::

    [magic: 4 bytes][lengths of header, rows, letters: 4 + 8 + 8][CRC-32 of those three parts: 4][CRC-32 so far: 4]
    [header: msgpack][rows: Arrow IPC stream][dead letters: Arrow IPC stream, or nothing]

Rules
-----
- A record is written whole before anybody is given its rows. So a record that the end of the last segment cuts short
  was never given out: the next writer cuts it off. The same goes for zeros up to the end, which some file systems leave
  after a power failure.
- Anything else that cannot be read, or is not what was written, is damage, and a SourceError that names the file.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from streamlab.connectors.contracts.source import Position
from streamlab.connectors.files.durable_files import open_plain, sync
from streamlab.core.errors import SourceError, explained

_MAGIC = b"SLR1"
_LENGTHS = struct.Struct("<4sIQQI")
_PREFIX_BYTES = _LENGTHS.size + 4
_NAME = re.compile(r"(\d{12,})\.records")


class RecordHeader(msgspec.Struct, frozen=True, array_like=True):
    """What a record says about itself.

    Attributes
    ----------
    number : int
        How many records the log held before.
    arrived_us : int
        Wall clock at which its rows were read.
    first_row : int
        How many rows the log held before.
    rows : int
        How many rows it holds.
    inner : int | str | tuple
        Position of the recorded source after these rows.
    max_time_us : int | None
        Latest event time among the rows, as far as the recorded source said so.
    is_last : bool
        Whether the recorded source ended here.
    """

    number: int
    arrived_us: int
    first_row: int
    rows: int
    inner: Position
    max_time_us: int | None = None
    is_last: bool = False


@dataclass(frozen=True)
class Record:
    """A whole record."""

    header: RecordHeader
    frame: pl.DataFrame
    letters: pl.DataFrame | None


@dataclass(frozen=True)
class Segment:
    """A file of the log.

    Attributes
    ----------
    first : int
        Number of its first record.
    path : Path
        Where it is.
    """

    first: int
    path: Path


def segments(folder: Path) -> list[Segment]:
    """Return the segments that there are now, oldest first; none when there is no such folder. Raises SourceError."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
    found = [(int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))]
    return [Segment(first, folder / name) for first, name in sorted(found)]


class LogCursor:
    """Reads the records of a log one by one, beside its writer or without one.

    Parameters
    ----------
    folder
        The log's; it need not exist yet.
    number
        The first record to read.

    Raises
    ------
    SourceError
        By every method: if a file is damaged, or that record has been deleted.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        """The record that is read next."""
        self._folder = folder
        self._segment: Segment | None = None
        self._file: int | None = None
        self._offset = 0
        self._unsynced = {folder, folder.parent}

    def next(self) -> Record | None:
        """Return the next record, or None while there is none, or only a part of one."""
        if self._segment is None:
            self._find()
        while self._segment is not None and self._file is not None:
            record = self._read(self._segment, self._file, is_last=True)
            if record is not None:
                return record
            # Listed before the file is looked at again: a segment with another behind it is no longer written to.
            behind = next((s for s in segments(self._folder) if s.first > self._segment.first), None)
            if behind is None:
                return None
            record = self._read(self._segment, self._file, is_last=False)
            if record is not None:
                return record
            self._expect(behind.first, behind.path)
            self._enter(behind)
        return None

    def make_durable(self) -> None:
        """See to it that what was read survives a power failure: who wrote it may have been killed before.

        Raises
        ------
        OSError
            If the disk fails.
        """
        for path in self._unsynced:
            if path.exists():
                sync(path)
        self._unsynced.clear()

    def close(self) -> None:
        """Close the file. May be called more than once."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._segment = None

    def _read(self, segment: Segment, file: int, *, is_last: bool) -> Record | None:
        prefix = _prefix_at(file, segment.path, self._offset, is_last=is_last)
        if prefix is None:
            return None
        record = _record_at(file, segment.path, self._offset, prefix)
        self._expect(record.header.number, segment.path)
        self._offset += prefix.size
        self._unsynced.add(segment.path)
        self.number += 1
        return record

    def _find(self) -> None:
        """Go to the segment and the place in it where the record begins, as soon as that is there."""
        there = segments(self._folder)
        before = [segment for segment in there if segment.first <= self.number]
        if there and not before:
            oldest = there[0].first
            hint = "it lay before every checkpoint that is kept; raise the recording's limits to keep more"
            got = f"record {oldest:,} as the oldest that is left"
            raise SourceError(explained("recording", needed=f"record {self.number:,}", got=got, hint=hint))
        if not before:
            return
        segment, is_last = before[-1], before[-1] == there[-1]
        file = self._enter(segment)
        for number in range(segment.first, self.number):
            prefix = _prefix_at(file, segment.path, self._offset, is_last=is_last)
            if prefix is None:
                self.close()
                if not is_last:
                    raise _damaged(segment.path, f"its end where record {number:,} belongs")
                return
            self._offset += prefix.size

    def _enter(self, segment: Segment) -> int:
        self.close()
        self._file = file = _open(segment.path)
        self._segment, self._offset = segment, 0
        self._unsynced.add(segment.path)
        return file

    def _expect(self, number: int, path: Path) -> None:
        if number != self.number:
            raise _damaged(path, f"record {number:,} where record {self.number:,} belongs")


@dataclass(frozen=True)
class LogEnd:
    """What stands at the end of a log.

    Attributes
    ----------
    records, rows : int
        How many were ever written to it.
    inner : int | str | tuple | None
        Position of the recorded source; None when nothing was written.
    arrived_us : int
        When the last record was written.
    is_closed : bool
        Whether the recorded source has ended.
    segment_bytes : int
        How long the last segment is without a torn record.
    """

    records: int = 0
    rows: int = 0
    inner: Position | None = None
    arrived_us: int = 0
    is_closed: bool = False
    segment_bytes: int = 0


@dataclass(frozen=True)
class _Prefix:
    """Lengths of a record's parts, and their checksum."""

    parts: tuple[int, int, int]
    crc: int

    @property
    def size(self) -> int:
        return _PREFIX_BYTES + sum(self.parts)


def _prefix_at(file: int, path: Path, offset: int, *, is_last: bool) -> _Prefix | None:
    """Return what begins at an offset; None at the end of the file, and for a torn record of the last segment."""
    size = os.fstat(file).st_size
    if offset == size:
        return None
    data = os.pread(file, _PREFIX_BYTES, offset)
    if len(data) == _PREFIX_BYTES:
        magic, header, rows, letters, crc = _LENGTHS.unpack_from(data)
        if data[_LENGTHS.size :] == _number(zlib.crc32(data[: _LENGTHS.size])) and magic == _MAGIC:
            prefix = _Prefix((header, rows, letters), crc)
            if offset + prefix.size <= size:
                return prefix
        elif not (is_last and _is_zero(file, offset)):
            raise _damaged(path, f"no record at byte {offset:,}")
    if is_last:
        return None
    raise _damaged(path, f"a record at byte {offset:,} that is cut short")


def _record_at(file: int, path: Path, offset: int, prefix: _Prefix) -> Record:
    at = offset + _PREFIX_BYTES
    parts = []
    for length in prefix.parts:
        parts.append(_read(file, length, at))
        at += length
    if _crc(parts) != prefix.crc:
        raise _damaged(path, f"a record at byte {offset:,} that does not match its checksum")
    try:
        header = msgspec.msgpack.decode(parts[0], type=RecordHeader)
        letters = pl.read_ipc_stream(BytesIO(parts[2])) if parts[2] else None
        return Record(header, pl.read_ipc_stream(BytesIO(parts[1])), letters)
    except (msgspec.DecodeError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _damaged(path, f"a record at byte {offset:,} that holds something else ({error})") from error


def end_of(there: Sequence[Segment], *, is_last: bool = True) -> LogEnd:
    """Return what stands at the end of a log, or of a part of it that is not the last one.

    Raises
    ------
    SourceError
        If its last segment is damaged.
    """
    if not there:
        return LogEnd()
    last = there[-1]
    offset, found, records = 0, None, last.first
    with _opened(last.path) as file:
        while (prefix := _prefix_at(file, last.path, offset, is_last=is_last)) is not None:
            found = offset, prefix
            offset += prefix.size
            records += 1
        if found is not None:
            header = _record_at(file, last.path, *found).header
            if header.number != records - 1:
                raise _damaged(last.path, f"record {header.number:,} where record {records - 1:,} belongs")
            rows = header.first_row + header.rows
            return LogEnd(records, rows, header.inner, header.arrived_us, header.is_last, offset)
    before = end_of(there[:-1], is_last=False)
    if before.records != last.first:
        raise _damaged(last.path, f"record {last.first:,} as its first where record {before.records:,} belongs")
    return replace(before, segment_bytes=0)


def boundaries(segment: Segment, *, is_last: bool) -> list[int]:
    """Return where each whole record of a segment begins, and where the last one ends.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    found = [0]
    with _opened(segment.path) as file:
        while (prefix := _prefix_at(file, segment.path, found[-1], is_last=is_last)) is not None:
            found.append(found[-1] + prefix.size)
    return found


def first_header(segment: Segment, *, is_last: bool) -> RecordHeader | None:
    """Return what the first record of a segment says about itself; None when there is none.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    with _opened(segment.path) as file:
        prefix = _prefix_at(file, segment.path, 0, is_last=is_last)
        if prefix is None:
            return None
        try:
            return msgspec.msgpack.decode(_read(file, prefix.parts[0], _PREFIX_BYTES), type=RecordHeader)
        except msgspec.DecodeError as error:
            raise _damaged(segment.path, f"no header in its first record: {error}") from error


def _open(path: Path) -> int:
    try:
        return open_plain(path)
    except FileNotFoundError:
        hint = "its records lay before every checkpoint that is kept, and the recording's limits asked for room"
        got = "that it has been deleted"
        raise SourceError(explained("recording", needed=f"the file {path}", got=got, hint=hint)) from None
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = _open(path)
    try:
        yield file
    finally:
        os.close(file)


def unreadable(path: Path, error: OSError) -> SourceError:
    """Return the error for a file of a recording that cannot be read."""
    return SourceError(explained("recording", needed=f"to read {path}", got=error.strerror or str(error)))


def _damaged(path: Path, why: str) -> SourceError:
    return SourceError(explained("recording", needed=f"what was written to {path}", got=f"a damaged file: {why}"))


def _is_zero(file: int, offset: int) -> bool:
    while data := os.pread(file, 2**20, offset):
        if data.strip(b"\0"):
            return False
        offset += len(data)
    return True


def _read(file: int, length: int, offset: int) -> bytes:
    """Read all of it: one call gives no more than 2 GiB."""
    parts = []
    while length and (data := os.pread(file, length, offset)):
        parts.append(data)
        offset += len(data)
        length -= len(data)
    return b"".join(parts)


def packed_prefix(parts: Sequence[bytes]) -> bytes:
    """Return what goes before the three parts of a record."""
    lengths = _LENGTHS.pack(_MAGIC, *(len(part) for part in parts), _crc(parts))
    return lengths + _number(zlib.crc32(lengths))


def _crc(parts: Sequence[bytes]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")
