"""An append-only log of frames in a folder: one writer per prefix, any number of readers in other processes.

Files ``<prefix>-<number>.arrows`` hold records, one behind the other::

    [header length: 4 bytes][rows length: 8 bytes][header: msgpack][rows: Arrow IPC stream]

A reader takes whole records only, so a torn one at the end (the writer is at it, died, or the disk is full) does no
harm. Old files of a writer may be deleted under a reader. Each header says how many rows the writer wrote before, so
what is missing can be told, and in which attempt and after which checkpoint they were written, so that a later attempt
can withdraw them (`attempts`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl

from streamlab.runtime.attempts import Attempt, is_void

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
        Rows that the writer wrote before these, those that these replace included.
    rows : int
        Rows in the record.
    step : str
        Step that gave them, for side outputs.
    voids_from : int
        First file whose records these rows replace, up to the file that this record is in; -1: they replace none.
    """

    attempt: int
    epoch: int
    first_row: int
    rows: int
    step: str = ""
    voids_from: int = -1


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
    attempts
        The job's attempts: rows that were withdrawn are no longer counted.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        attempt: int,
        *,
        keep_rows: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rows = 0
        """Rows written under this prefix that were not withdrawn."""
        self.rows_dropped = 0
        """Rows in files that were deleted because newer ones suffice."""
        self._folder = folder
        self._prefix = prefix
        self._attempt = attempt
        self._keep_rows = keep_rows
        self._segment_bytes = segment_bytes
        self._segments: list[tuple[int, int]] = []
        """Number and row count of each file that there is, oldest first; those of earlier attempts, too."""
        self._adopt(attempts)
        self._next = 1 + max((number for number, _ in self._segments), default=-1)
        self._file = self._new_file()

    @property
    def kept_rows(self) -> int:
        """Rows in the files that there are."""
        return sum(rows for _, rows in self._segments)

    def append(self, frame: pl.DataFrame, *, step: str = "", epoch: int = 0) -> None:
        """Write a record, of a frame longer than `keep_rows` its newest rows. Raises OSError when there is no room."""
        unneeded = 0 if self._keep_rows is None else max(0, frame.height - max(self._keep_rows, 1))
        frame = frame.slice(unneeded)
        self.rows += unneeded
        self.rows_dropped += unneeded
        if self._file.tell() >= self._segment_bytes or self._is_long() or unneeded:
            self._file.close()
            self._file = self._new_file()
        header = RecordHeader(self._attempt, epoch, self.rows, frame.height, step)
        self._file.write(_encoded(header, frame))
        self._file.flush()
        self.rows += frame.height
        number, count = self._segments[-1]
        self._segments[-1] = number, count + frame.height
        self._drop_old()

    def sync(self) -> None:
        """Make everything durable that was appended."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def rewrite(self, records: Sequence[tuple[RecordHeader, pl.DataFrame]], voids_from: int) -> None:
        """Replace the files from number `voids_from` on by one that holds these records; readers see all or none.

        The first record's header is marked, so that a reader that comes in between takes none of them twice.
        """
        self._file.close()
        old = [segment for segment in self._segments if segment[0] >= voids_from]
        self._segments = [segment for segment in self._segments if segment[0] < voids_from]
        number, self._next = self._next, self._next + 1
        aside = self._folder / f".{self._prefix}-{number:06d}"
        with aside.open("wb") as file:
            for at, (header, frame) in enumerate(records):
                marked = msgspec.structs.replace(
                    header, rows=frame.height, voids_from=voids_from if at == 0 else header.voids_from
                )
                file.write(_encoded(marked, frame))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path(number))
        self._segments.append((number, sum(frame.height for _, frame in records)))
        self._file = self._path(number).open("ab")
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

    def _adopt(self, attempts: Sequence[Attempt]) -> None:
        """Go on counting where earlier attempts were when what followed was withdrawn."""
        withdrawn: list[RecordHeader] = []
        for number in _segments(self._folder).get(self._prefix, ()):
            standing_rows = 0
            for header, _, _ in _read_from(self._path(number), 0):
                if is_void(header.attempt, header.epoch, attempts):
                    withdrawn.append(header)
                else:
                    standing_rows += header.rows
                    replaced = header.voids_from >= 0
                    self.rows = max(self.rows, header.first_row + (0 if replaced else header.rows))
            self._segments.append((number, standing_rows))
        newest = max((header.attempt for header in withdrawn), default=0)
        before = min((header.first_row for header in withdrawn if header.attempt == newest), default=0)
        self.rows = max(self.rows, before)
        if self._keep_rows is not None:
            self.rows_dropped = self.rows - self.kept_rows

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
            waiting = [number for number in numbers if number >= at]
            while waiting:
                number = waiting.pop(0)
                start = offset if number == at else 0
                self._positions[prefix] = number, start
                path = self.folder / f"{prefix}-{number:06d}.arrows"
                for header, frame, end in _read_from(path, start):
                    self._positions[prefix] = number, end
                    yield Record(prefix, number, header, frame)
                if not path.exists():
                    # Its writer has deleted it since we looked, and what takes its place was there before that.
                    waiting = [later for later in _segments(self.folder).get(prefix, ()) if later > number]

    def drop_read(self) -> None:
        """Delete the files that have been read to their end and are no longer written to."""
        for prefix, (at, _) in self._positions.items():
            for number in _segments(self.folder).get(prefix, ()):
                if number < at:
                    (self.folder / f"{prefix}-{number:06d}.arrows").unlink(missing_ok=True)

    def restart(self) -> None:
        """Read everything once more."""
        self._positions.clear()

    def segments(self) -> set[tuple[str, int]]:
        """Return the files that there are now."""
        return {(prefix, number) for prefix, numbers in _segments(self.folder).items() for number in numbers}


def standing(records: Iterable[Record], attempts: Sequence[Attempt]) -> list[Record]:
    """Return the records that count, in order: neither withdrawn by an attempt nor replaced by a later file."""
    valid = [r for r in records if not is_void(r.header.attempt, r.header.epoch, attempts)]
    replaced: dict[str, list[tuple[int, int]]] = {}
    for record in valid:
        if record.header.voids_from >= 0:
            replaced.setdefault(record.prefix, []).append((record.header.voids_from, record.segment))
    return [r for r in valid if not any(a <= r.segment < b for a, b in replaced.get(r.prefix, ()))]


def _encoded(header: RecordHeader, frame: pl.DataFrame) -> bytes:
    body = BytesIO()
    frame.write_ipc_stream(body, compat_level=_NEWEST)
    head, rows = msgspec.msgpack.encode(header), body.getvalue()
    return len(head).to_bytes(4, "little") + len(rows).to_bytes(8, "little") + head + rows


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
