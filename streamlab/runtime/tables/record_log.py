"""An append-only log of frames in a folder: one writer per prefix, any number of readers in other processes.

Files ``<prefix>-<number>.arrows`` hold records, one behind the other::

    [header length: 4 bytes][rows length: 8 bytes][header: msgpack][rows: Arrow IPC stream]

A reader takes whole records only, so a torn one at the end (the writer is at it, died, or the disk is full) does no
harm; nor do zeros, which a power failure may leave. What else is not as it was written, lengths and a checksum tell,
and it is an error unless it was withdrawn. Old files of a writer may be deleted under a reader. Each header says how
many rows the writer wrote before, so what is missing can be told, and in which attempt and after which checkpoint they
were written, so that a later attempt can withdraw them (`attempts`).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl

from streamlab.core.errors import StateError, explained
from streamlab.core.failpoints import reach
from streamlab.runtime.job_folder.attempts import Attempt, is_void

SEGMENT_BYTES = 64 * 1024 * 1024
_LENGTHS = 12
_LONGEST_HEADER = 2**20
_LAST_ATTEMPT = 2**62
"""Rows of it are withdrawn by none."""
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
    crc32 : int
        Of the header without it and of the rows behind it; -1 when it was not noted.
    """

    attempt: int
    epoch: int
    first_row: int
    rows: int
    step: str = ""
    voids_from: int = -1
    crc32: int = -1


@dataclass(frozen=True)
class Record:
    """One record as read; with `damage` there are no rows."""

    prefix: str
    segment: int
    header: RecordHeader
    frame: pl.DataFrame
    damage: str = ""


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
    inherits
        Prefixes whose writers are gone: their rows count as older ones of this writer's (see :func:`orphans`).
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
        inherits: Sequence[str] = (),
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
        self._inherited: list[tuple[Path, int]] = []
        """Path and row count of each file of a writer that is gone, those of the earliest attempts first."""
        self._adopt(attempts)
        self._inherit(inherits, attempts)
        self._next = 1 + max((number for number, _ in self._segments), default=-1)
        self._file = self._new_file()

    @property
    def kept_rows(self) -> int:
        """Rows in the files that there are, those of writers that are gone included."""
        return sum(rows for _, rows in (*self._inherited, *self._segments))

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
        reach("results.append")
        self._file.write(_encoded(header, frame))
        self._file.flush()
        self.rows += frame.height
        number, count = self._segments[-1]
        self._segments[-1] = number, count + frame.height
        self._drop_old()

    def sync(self) -> None:
        """Make everything durable that was appended."""
        reach("results.fsync")
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
            for record, _ in _read_from(self._path(number), 0, self._prefix, number):
                yield record

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
        for number in _segments(self._folder).get(self._prefix, ()):
            self._segments.append((number, _standing_rows(self._path(number), attempts)))
        self.rows = _rows_written(map(self._path, self._numbers), attempts)
        if self._keep_rows is not None:
            self.rows_dropped = self.rows - self.kept_rows

    def _inherit(self, prefixes: Sequence[str], attempts: Sequence[Attempt]) -> None:
        """Take over the files of writers that are gone, so that their rows become old and go, too."""
        if self._keep_rows is None:
            return
        files: list[tuple[int, Path, int]] = []
        for prefix in prefixes:
            paths = [self._folder / f"{prefix}-{number:06d}.arrows" for number in _segments(self._folder)[prefix]]
            kept = [_standing_rows(path, attempts) for path in paths]
            self.rows_dropped += _rows_written(paths, attempts) - sum(kept)
            files += [(_first_attempt(path), path, rows) for path, rows in zip(paths, kept, strict=True)]
        self._inherited = [(path, rows) for _, path, rows in sorted(files)]

    @property
    def _numbers(self) -> list[int]:
        return [number for number, _ in self._segments]

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
        while self._inherited and kept - self._inherited[0][1] >= self._keep_rows:
            path, rows = self._inherited.pop(0)
            kept -= rows
            self.rows_dropped += rows
            path.unlink(missing_ok=True)
        while not self._inherited and len(self._segments) > 1 and kept - self._segments[0][1] >= self._keep_rows:
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
                for record, end in _read_from(path, start, prefix, number):
                    self._positions[prefix] = number, end
                    yield record
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


def orphans(folder: Path, family: str, writer: int, writers: int) -> list[str]:
    """Return the prefixes in a folder whose writers are gone, and that one of the present writers is to inherit.

    Writers of a family are numbered: ``w0``, ``w1``, … After a job was scaled down, some of them are gone.

    Parameters
    ----------
    folder
        The log.
    family
        What their prefixes begin with.
    writer, writers
        Number of the writer that asks, and how many there are.
    """
    mine = []
    for prefix in _segments(folder):
        number = prefix.removeprefix(family)
        is_numbered = prefix.startswith(family) and number.isdecimal()
        if not (is_numbered and int(number) < writers) and (int(number) if is_numbered else 0) % writers == writer:
            mine.append(prefix)
    return sorted(mine)


def standing(records: Iterable[Record], attempts: Sequence[Attempt]) -> list[Record]:
    """Return the records that count, in order: neither withdrawn by an attempt nor replaced by a later file.

    Raises
    ------
    StateError
        One of them is damaged; the file is named.
    """
    valid = [r for r in records if not is_void(r.header.attempt, r.header.epoch, attempts)]
    replaced: dict[str, list[tuple[int, int]]] = {}
    for record in valid:
        if record.header.voids_from >= 0:
            replaced.setdefault(record.prefix, []).append((record.header.voids_from, record.segment))
    counting = [r for r in valid if not any(a <= r.segment < b for a, b in replaced.get(r.prefix, ()))]
    for record in counting:
        if record.damage:
            raise StateError(record.damage)
    return counting


def _encoded(header: RecordHeader, frame: pl.DataFrame) -> bytes:
    body = BytesIO()
    frame.write_ipc_stream(body, compat_level=_NEWEST)
    rows = body.getvalue()
    head = msgspec.msgpack.encode(msgspec.structs.replace(header, crc32=_checksum(header, rows)))
    return len(head).to_bytes(4, "little") + len(rows).to_bytes(8, "little") + head + rows


def _checksum(header: RecordHeader, rows: bytes) -> int:
    return zlib.crc32(rows, zlib.crc32(msgspec.msgpack.encode(msgspec.structs.replace(header, crc32=-1))))


def _segments(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.setdefault(match["prefix"], []).append(int(match["number"]))
    return {prefix: sorted(numbers) for prefix, numbers in found.items()}


def _standing_rows(path: Path, attempts: Sequence[Attempt]) -> int:
    """Return how many rows of a file were not withdrawn."""
    return sum(header.rows for header in _headers(path) if not is_void(header.attempt, header.epoch, attempts))


def _rows_written(paths: Iterable[Path], attempts: Sequence[Attempt]) -> int:
    """Return how many rows a writer has written that were not withdrawn, those that are deleted included."""
    rows, withdrawn = 0, []
    for path in paths:
        for header in _headers(path):
            if is_void(header.attempt, header.epoch, attempts):
                withdrawn.append(header)
            else:
                rows = max(rows, header.first_row + (0 if header.voids_from >= 0 else header.rows))
    newest = max((header.attempt for header in withdrawn), default=0)
    return max(rows, min((header.first_row for header in withdrawn if header.attempt == newest), default=0))


def _first_attempt(path: Path) -> int:
    return next((header.attempt for header in _headers(path)), 0)


def _read_from(path: Path, offset: int, prefix: str, number: int) -> Iterator[tuple[Record, int]]:
    """Yield each whole record from `offset` on, and where it ends; nothing when the file is gone."""
    for header, file, body_bytes, end in _records(path, offset):
        rows = b"" if file is None else file.read(body_bytes)
        damage = "" if file is not None and header.crc32 in {-1, _checksum(header, rows)} else "others"
        frame = pl.DataFrame()
        if not damage:
            try:
                frame = pl.read_ipc_stream(rows)
            except (OSError, pl.exceptions.PolarsError) as error:
                damage = str(error)
        if damage:
            hint = "the file was damaged after it was written"
            damage = explained(f"reading {path}", needed="the rows that were written", got=damage, hint=hint)
        yield Record(prefix, number, header, frame, damage), end


def _headers(path: Path) -> Iterator[RecordHeader]:
    """Yield the header of each whole record."""
    return (header for header, file, _, _ in _records(path, 0) if file is not None)


def _records(path: Path, offset: int) -> Iterator[tuple[RecordHeader, BinaryIO | None, int, int]]:
    """Yield for each whole record its header, the file where its rows begin, their length, and where it ends.

    Without a file it is where a record that cannot be understood ends the file; its header is that of the one before,
    since the attempt and the checkpoint that it follows are not before those.
    """
    before = RecordHeader(_LAST_ATTEMPT, 0, 0, 0)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while True:
            file.seek(offset)
            lengths = file.read(_LENGTHS)
            header_bytes = int.from_bytes(lengths[:4], "little")
            body_bytes = int.from_bytes(lengths[4:], "little")
            end = offset + _LENGTHS + header_bytes + body_bytes
            size = os.fstat(file.fileno()).st_size
            if len(lengths) < _LENGTHS or not any(lengths):
                return
            if header_bytes <= _LONGEST_HEADER and end > size:
                return
            try:
                header = msgspec.msgpack.decode(file.read(min(header_bytes, _LONGEST_HEADER)), type=RecordHeader)
            except msgspec.MsgspecError:
                yield before, None, 0, size
                return
            yield header, file, body_bytes, end
            offset, before = end, header
