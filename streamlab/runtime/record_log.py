"""An append-only log of frames in a folder: one writer per prefix, any number of readers in other processes.

Files ``<prefix>-<number>.arrows`` hold records, one behind the other::

    [header length: 4 bytes][rows length: 8 bytes][header: msgpack][rows: Arrow IPC stream]

A reader takes whole records only, so a torn one at the end (the writer is at it, died, or the disk is full) does no
harm. Old files of a writer may be deleted under a reader. Each header says how many rows the writer wrote before, so
what is missing can be told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl

SEGMENT_BYTES = 64 * 1024 * 1024
_LENGTHS = 12
_NAME = re.compile(r"(?P<prefix>.+)-(?P<number>\d{6,})\.arrows")
_NEWEST = pl.CompatLevel.newest()


class RecordHeader(msgspec.Struct, frozen=True, array_like=True):
    """What a record says about its rows.

    Attributes
    ----------
    attempt, epoch : int
        Attempt of the job, and the checkpoint that the rows follow: what a restore must withdraw.
    first_row : int
        Rows that the writer wrote before these.
    rows : int
        Rows in the record.
    step : str
        Step that gave them, for side outputs.
    is_base : bool
        Whether the rows are the whole table so far: all earlier records of this writer are void.
    """

    attempt: int
    epoch: int
    first_row: int
    rows: int
    step: str = ""
    is_base: bool = False


@dataclass(frozen=True)
class Record:
    """One record as read."""

    prefix: str
    segment: int
    header: RecordHeader
    frame: pl.DataFrame


class LogWriter:
    """Appends frames; new files begin at `segment_bytes`, or earlier so that `keep_rows` can be kept.

    Parameters
    ----------
    folder
        Where the files are made.
    prefix
        Which writer this is; unique in the folder.
    attempt
        Attempt of the job.
    keep_rows
        Rows that must be kept; files with only older rows are deleted. None keeps all.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        attempt: int,
        *,
        keep_rows: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rows = 0
        """Rows written since the writer was made."""
        self.rows_dropped = 0
        """Rows in files that were deleted because newer ones suffice."""
        self._folder = folder
        self._prefix = prefix
        self._attempt = attempt
        self._keep_rows = keep_rows
        self._segment_bytes = segment_bytes
        self._segments: list[tuple[int, int]] = []
        """Number and row count of each file that there is, oldest first."""
        self._next = 1 + max((number for number in _segments(folder).get(prefix, ())), default=-1)
        self._file = self._new_file()

    @property
    def kept_rows(self) -> int:
        """Rows in the files that there are."""
        return sum(rows for _, rows in self._segments)

    def append(self, frame: pl.DataFrame, *, step: str = "", is_base: bool = False) -> None:
        """Write a record, of a frame longer than `keep_rows` its newest rows. Raises OSError when there is no room."""
        unneeded = 0 if self._keep_rows is None else max(0, frame.height - max(self._keep_rows, 1))
        frame = frame.slice(unneeded)
        self.rows += unneeded
        self.rows_dropped += unneeded
        if self._file.tell() >= self._segment_bytes or self._is_long() or unneeded:
            self._file.close()
            self._file = self._new_file()
        body = BytesIO()
        frame.write_ipc_stream(body, compat_level=_NEWEST)
        header = msgspec.msgpack.encode(RecordHeader(self._attempt, 0, self.rows, frame.height, step, is_base))
        rows = body.getbuffer()
        self._file.write(len(header).to_bytes(4, "little") + len(rows).to_bytes(8, "little") + header)
        self._file.write(rows)
        self._file.flush()
        self.rows += frame.height
        number, count = self._segments[-1]
        self._segments[-1] = number, count + frame.height
        self._drop_old()

    def rewrite(self, frame: pl.DataFrame) -> None:
        """Replace everything written so far by one record that holds the whole table."""
        self._file.close()
        old, self._segments = self._segments, []
        self._file = self._new_file()
        self.append(frame, is_base=True)
        self._delete(old)

    def records(self) -> Iterator[Record]:
        """Yield what this writer has written and not deleted."""
        for number, _ in self._segments:
            for header, frame, _ in _read_from(self._path(number), 0):
                yield Record(self._prefix, number, header, frame)

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError:
            # The disk is full and a part of a record was still to be written: readers ignore the torn record, and the
            # write that failed has told.
            return

    def _is_long(self) -> bool:
        return self._keep_rows is not None and self._segments[-1][1] * 4 >= max(self._keep_rows, 4)

    def _new_file(self) -> BinaryIO:
        number, self._next = self._next, self._next + 1
        self._segments.append((number, 0))
        fd = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return os.fdopen(fd, "wb")

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._prefix}-{number:06d}.arrows"

    def _drop_old(self) -> None:
        if self._keep_rows is None:
            return
        kept = self.kept_rows
        while len(self._segments) > 1 and kept - self._segments[0][1] >= self._keep_rows:
            kept -= self._segments[0][1]
            self.rows_dropped += self._segments[0][1]
            self._delete([self._segments.pop(0)])

    def _delete(self, segments: list[tuple[int, int]]) -> None:
        for number, _ in segments:
            self._path(number).unlink(missing_ok=True)


@dataclass
class LogReader:
    """Reads the records of all writers in a folder, each once, as they come.

    Attributes
    ----------
    folder : Path
        The log; it need not exist yet.
    """

    folder: Path
    _positions: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read_new(self) -> Iterator[Record]:
        """Yield the whole records that were not read before, those of one writer in order."""
        for prefix, numbers in sorted(_segments(self.folder).items()):
            at, offset = self._positions.get(prefix, (-1, 0))
            for number in (n for n in numbers if n >= at):
                start = offset if number == at else 0
                self._positions[prefix] = number, start
                for header, frame, end in _read_from(self.folder / f"{prefix}-{number:06d}.arrows", start):
                    self._positions[prefix] = number, end
                    yield Record(prefix, number, header, frame)

    def drop_read(self) -> None:
        """Delete the files that have been read to their end and are no longer written to."""
        for prefix, (at, _) in self._positions.items():
            for number in _segments(self.folder).get(prefix, ()):
                if number < at:
                    (self.folder / f"{prefix}-{number:06d}.arrows").unlink(missing_ok=True)

    def segments(self) -> set[tuple[str, int]]:
        """Return the files that there are now."""
        return {(prefix, number) for prefix, numbers in _segments(self.folder).items() for number in numbers}


def _segments(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.setdefault(match["prefix"], []).append(int(match["number"]))
    return {prefix: sorted(numbers) for prefix, numbers in found.items()}


def _read_from(path: Path, offset: int) -> Iterator[tuple[RecordHeader, pl.DataFrame, int]]:
    """Yield header, rows and end of each whole record from `offset` on; nothing when the file is gone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while True:
            lengths = file.read(_LENGTHS)
            header_bytes = int.from_bytes(lengths[:4], "little")
            body_bytes = int.from_bytes(lengths[4:], "little")
            end = offset + _LENGTHS + header_bytes + body_bytes
            if len(lengths) < _LENGTHS or end > os.fstat(file.fileno()).st_size:
                return
            header = msgspec.msgpack.decode(file.read(header_bytes), type=RecordHeader)
            yield header, pl.read_ipc_stream(file.read(body_bytes)), end
            offset = end
