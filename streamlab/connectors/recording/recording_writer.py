"""The log of one recorded split, as it is written; ``recording_log`` has its format.

Rules
-----
- One process writes at a time: it holds a lock that the system lets go when the process ends, however it ends.
- A torn record at the end is cut off before anything is written behind it.
- Segments are deleted from the oldest on, only when they are released and one of the limits asks for it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from streamlab.connectors.contracts.source import Position
from streamlab.connectors.files.durable_files import make_folder, replace_file, sync
from streamlab.connectors.recording.recording_log import (
    LogEnd,
    Record,
    RecordHeader,
    Segment,
    end_of,
    first_header,
    packed_prefix,
    segments,
)
from streamlab.core.failpoints import reach

SEGMENT_BYTES = 64 * 2**20
_SEGMENTS_PER_LIMIT = 8
_NEWEST = pl.CompatLevel.newest()
_LOCK = "lock"
_RELEASED = "released"


class LogWriter:
    """Appends to a log; made by :meth:`acquire`.

    Parameters
    ----------
    folder
        The log's.
    lock
        File descriptor that holds the lock.
    limit_bytes
        How large the log may become.
    limit_us
        For how long records are kept, once they are released; None: as long as there is room.
    """

    def __init__(self, folder: Path, lock: int, *, limit_bytes: int, limit_us: int | None) -> None:
        self._folder, self._lock = folder, lock
        self._limit_bytes, self._limit_us = limit_bytes, limit_us
        self._segment_bytes = max(1, min(SEGMENT_BYTES, limit_bytes // _SEGMENTS_PER_LIMIT))
        there = segments(folder)
        self.end = end_of(there)
        """What stands at its end."""
        self._segments = [_Written(s, s.path.stat().st_size, _arrival(s, is_last=s == there[-1])) for s in there]
        self._released = _read_released(folder)
        # The process that wrote them may have been killed before it came to syncing.
        self._unsynced = {folder, folder.parent, *(segment.path for segment in there)}
        self._file: int | None = None
        if self._segments:
            last = self._segments[-1]
            self._file = os.open(last.segment.path, os.O_RDWR | os.O_CLOEXEC)
            os.ftruncate(self._file, self.end.segment_bytes)
            last.bytes = self.end.segment_bytes

    @classmethod
    def acquire(cls, folder: Path, *, limit_bytes: int, limit_us: int | None) -> LogWriter | None:
        """Return the log's writer, which cuts off a torn end, or None while another process is its writer.

        Raises
        ------
        SourceError
            If its last segment is damaged.
        OSError
            If files cannot be made there.
        """
        make_folder(folder)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        try:
            return cls(folder, lock, limit_bytes=limit_bytes, limit_us=limit_us)
        except BaseException:
            os.close(lock)
            raise

    @property
    def size_bytes(self) -> int:
        """How large the log is."""
        return sum(written.bytes for written in self._segments)

    @property
    def is_full(self) -> bool:
        """Whether it has reached its limit, though all was deleted that may be."""
        return self.size_bytes >= self._limit_bytes

    def append(
        self,
        frame: pl.DataFrame,
        letters: pl.DataFrame | None,
        inner: Position,
        arrived_us: int,
        *,
        max_time_us: int | None = None,
        is_last: bool = False,
    ) -> Record:
        """Write a record and return it. When that fails nothing of it is left.

        Raises
        ------
        OSError
            If there is no room, or the disk fails.
        """
        end = self.end
        header = RecordHeader(end.records, arrived_us, end.rows, frame.height, inner, max_time_us, is_last)
        parts = [msgspec.msgpack.encode(header), _as_ipc(frame), b"" if letters is None else _as_ipc(letters)]
        parts.insert(0, packed_prefix(parts))
        last, file = self._segment_for(arrived_us)
        try:
            _write(file, parts)
        except OSError:
            os.ftruncate(file, last.bytes)
            raise
        last.bytes += sum(len(part) for part in parts)
        self._unsynced.add(last.segment.path)
        self.end = LogEnd(end.records + 1, end.rows + frame.height, inner, arrived_us, is_last, last.bytes)
        self._make_room()
        return Record(header, frame, letters)

    def make_durable(self) -> None:
        """See to it that all that was written survives a power failure. Raises OSError if the disk fails."""
        reach("recording.fsync")
        # A folder last: what it names is whole by then.
        for path in sorted(self._unsynced, key=lambda path: path == self._folder):
            if path.exists():
                sync(path)
            self._unsynced.discard(path)

    def release(self, number: int) -> None:
        """Note that nobody will read records before this one again, so that segments of them may be deleted."""
        if number <= self._released:
            return
        before, self._released = self._released, number
        if any(before <= later.segment.first < number for later in self._segments[1:]):
            replace_file(self._folder / _RELEASED, str(number).encode())
        self._make_room()

    def close(self) -> None:
        """Let go of the log. May be called more than once."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _segment_for(self, arrived_us: int) -> tuple[_Written, int]:
        """Return the segment that is written to, a new one when the last is full or spans too much time."""
        last = self._segments[-1] if self._segments else None
        if last is not None and last.bytes:
            span_us = None if self._limit_us is None else max(1, self._limit_us // _SEGMENTS_PER_LIMIT)
            if last.bytes >= self._segment_bytes or (span_us is not None and arrived_us - last.arrived_us >= span_us):
                last = None
        if last is None or self._file is None:
            path = self._folder / f"{self.end.records:012d}.records"
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if self._file is not None:
                os.close(self._file)
            self._file = opened
            self._unsynced |= {path, self._folder}
            last = _Written(Segment(self.end.records, path), 0, arrived_us)
            self._segments.append(last)
        if not last.bytes:
            last.arrived_us = arrived_us
        return last, self._file

    def _make_room(self) -> None:
        """Delete released segments that a limit asks for. The clock is that of the newest record.

        A segment goes only when a record behind it is durable: the log's end must be told from what is left.
        """
        oldest_us = None if self._limit_us is None else self.end.arrived_us - self._limit_us
        while len(self._segments) > 1 and (after := self._segments[1]).segment.first < self._released:
            is_old = oldest_us is not None and after.arrived_us < oldest_us
            if not is_old and self.size_bytes < self._limit_bytes:
                return
            gone = self._segments.pop(0).segment.path
            self._unsynced.discard(gone)
            gone.unlink(missing_ok=True)


@dataclass
class _Written:
    """A segment as its writer knows it: its length, and when its first record arrived."""

    segment: Segment
    bytes: int
    arrived_us: int


def _arrival(segment: Segment, *, is_last: bool) -> int:
    header = first_header(segment, is_last=is_last)
    return 0 if header is None else header.arrived_us


def _write(file: int, parts: list[bytes]) -> None:
    os.lseek(file, 0, os.SEEK_END)
    for part in parts:
        reach("recording.append")
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(file, rest) :]


def _as_ipc(frame: pl.DataFrame) -> bytes:
    body = BytesIO()
    frame.write_ipc_stream(body, compat_level=_NEWEST)
    return body.getvalue()


def _read_released(folder: Path) -> int:
    try:
        return int((folder / _RELEASED).read_bytes())
    except (FileNotFoundError, ValueError):
        # At worst less may be deleted, until the next checkpoint releases it again.
        return 0
