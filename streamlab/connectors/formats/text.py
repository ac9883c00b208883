"""Files of text records, CSV and NDJSON, read in chunks whose ends depend on the file alone.

A position is ``(byte offset of a chunk, number of its first line, rows taken from it)``, and what was said of the file
once and for all, if there is something (see :attr:`TextParser.told`). Because a chunk's extent
depends on where it starts and on nothing else, any position can be opened again and gives exactly the rows that follow,
whatever the limits were.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

import polars as pl

from streamlab.connectors.contracts.dead_letters import Letter, letters
from streamlab.connectors.contracts.source import Position, Read, Split, SplitReader
from streamlab.connectors.formats.base import UNREADABLE, FileRefused, Target, begins_us
from streamlab.connectors.formats.encodings import UTF8, Encoding

CHUNK_BYTES = 4 * 2**20
PEEK_BYTES = 2**16
HEAD_BYTES = 2**20
BOM = b"\xef\xbb\xbf"
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"PK\x03\x04": "zip"}


@dataclass(frozen=True)
class Parsed:
    """What a chunk holds: good rows, and (line number, reason, text) of each bad record."""

    frame: pl.DataFrame
    bad: tuple[tuple[int, str, str], ...] = ()


class TextParser(ABC):
    """Understands the text of one file."""

    @property
    def encoding(self) -> Encoding:
        """What the bytes of the file stand for; the parser itself sees UTF-8."""
        return UTF8

    @abstractmethod
    def begin(self, head: bytes) -> tuple[int, int]:
        """Look at the first mebibyte, and return the bytes and lines before the first record. Raises FileRefused."""

    @abstractmethod
    def cut(self, data: bytes) -> int:
        """Return where the last whole record ends; 0 when there is no line's end at all."""

    @abstractmethod
    def parse(self, data: bytes, line: int) -> Parsed:
        """Parse whole records, the first of which stands in line `line`."""

    @property
    def news(self) -> Sequence[tuple[int, str, str]]:
        """What is to be said of a file that has begun: line number, reason and text."""
        return ()

    @property
    def told(self) -> str:
        """What was said that is not to be said again of the same file, for whoever goes on from here."""
        return ""

    def recall(self, told: str) -> None:
        """Take what was said for said."""

    def check(self, data: bytes, parsed: Parsed) -> None:
        """Look at the first chunk of a file, and at what came of it.

        Raises FileRefused when its columns are not the expected ones.
        """


class TextReader(SplitReader):
    """Reads one file."""

    def __init__(self, target: Target, parser: TextParser, position: Position) -> None:
        self._target = target
        self._parser = parser
        self._size = os.path.getsize(target.path)
        self._encoding: Encoding | None = None
        """That of the file, known when it has begun."""
        self._chunk: Parsed | None = None
        self._chunk_end = (0, 1)
        match position:
            case (int(offset), int(line), int(taken), *told):
                self._offset, self._line, self._taken = offset, line, taken
                parser.recall("".join(map(str, told)))
            case _:
                self._offset, self._line, self._taken = 0, 1, 0

    @property
    def done(self) -> bool:
        """Whether the end of the file, as long as it was when it was opened, has been read."""
        return self._chunk is None and self._offset >= self._size

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows and the bad records between them."""
        frames: list[pl.DataFrame] = []
        found: list[Letter] = []
        rows = 0
        while rows < limit and not self.done:
            chunk = self._chunk
            if chunk is None:
                chunk = self._chunk = self._load()
                if not self._taken:
                    found += [(why, text, f"{self._target.path}:{line}") for line, why, text in chunk.bad]
            part = chunk.frame.slice(self._taken, limit - rows)
            frames.append(part)
            rows += part.height
            self._taken += part.height
            if self._taken >= chunk.frame.height:
                (self._offset, self._line), self._taken, self._chunk = self._chunk_end, 0, None
        frame = pl.concat(frames) if frames else pl.DataFrame(schema=self._target.schema)
        told = (self._parser.told,) if self._parser.told else ()
        position = (self._offset, self._line, self._taken, *told)
        return Read(
            frame, position, rows, dead_letters=letters(self._target.step, found), end_bytes=self._bytes_taken()
        )

    def _bytes_taken(self) -> int:
        """Return the bytes before the rows that come next, as if all records of a chunk were of one length."""
        if self._chunk is None:
            return self._offset
        length = self._chunk_end[0] - self._offset
        return self._offset + length * self._taken // max(1, self._chunk.frame.height)

    def _load(self) -> Parsed:
        with open(self._target.path, "rb") as file:
            if self._encoding is None:
                start, lines, self._encoding = _begin(file, self._parser)
                if self._offset == 0:
                    self._offset, self._line = start, lines + 1
                    data = self._next_chunk(file, self._encoding)
                    parsed = self._parser.parse(data, self._line)
                    self._parser.check(data, parsed)
                    return Parsed(parsed.frame, (*self._parser.news, *parsed.bad))
            return self._parser.parse(self._next_chunk(file, self._encoding), self._line)

    def _next_chunk(self, file: IO[bytes], encoding: Encoding) -> bytes:
        """Return the text of the next chunk, and note where that ends in the file."""
        wanted = CHUNK_BYTES
        while True:
            file.seek(self._offset)
            raw = file.read(min(wanted, self._size - self._offset))
            text, length = encoding.text(raw), len(raw)
            if self._offset + len(raw) >= self._size or not raw:
                if not raw:
                    self._size = self._offset
            elif cut := self._parser.cut(text):
                length, text = encoding.raw_length(raw, text, cut), text[:cut]
            else:
                wanted *= 2
                continue
            self._chunk_end = (self._offset + length, self._line + text.count(b"\n"))
            return text


def sample(path: str, parser: TextParser, size: int) -> bytes:
    """Return the first whole records of a file, about `size` bytes. Raises OSError or FileRefused."""
    with open(path, "rb") as file:
        start, _, encoding = _begin(file, parser)
        file.seek(start)
        raw = file.read(size)
        data = encoding.text(raw)
        return data if len(raw) < size else data[: parser.cut(data)] or data + encoding.text(file.readline())


def _begin(file: IO[bytes], parser: TextParser) -> tuple[int, int, Encoding]:
    """Return the bytes and the lines before the first record, and the encoding of the file. Raises FileRefused."""
    _refuse_packed(file)
    raw = file.read(HEAD_BYTES)
    encoding = parser.encoding.of_file(raw)
    head = encoding.text(raw)
    start, lines = parser.begin(head)
    return encoding.raw_length(raw, head, start), lines, encoding


def _refuse_packed(file: IO[bytes]) -> None:
    """Raise FileRefused for a compressed file: a position in it could not be opened again without reading it all."""
    head = file.read(max(map(len, _PACKED)))
    file.seek(0)
    for mark, kind in _PACKED.items():
        if head.startswith(mark):
            text = f"compressed with {kind}: unpack it first"
            raise FileRefused(text)


def whole_file(target: Target, parser: TextParser) -> Sequence[Split]:
    """Return the one part of a text file, with the earliest time that its first lines allow."""
    if target.timing.event_time is None:
        return [Split("")]
    try:
        rows = parser.parse(sample(target.path, parser, PEEK_BYTES), 1).frame
    except (*UNREADABLE, FileRefused):
        return [Split("")]  # what is wrong with the file is said when it is read
    earliest, first = begins_us(rows, target.timing)
    return [Split("", None, earliest, first)]


def read_halves(
    records: Sequence[str], read: Callable[[Sequence[str]], pl.DataFrame]
) -> tuple[list[pl.DataFrame], list[tuple[int, str]]]:
    """Read records of which a few cannot be read: halve what fails until the bad ones stand alone.

    Returns the frames of the good ones in order, and the index of each bad one with the reason.
    """
    frames: list[pl.DataFrame] = []
    bad: list[tuple[int, str]] = []
    stack = [(0, len(records))]
    while stack:
        start, end = stack.pop()
        if start == end:
            continue
        try:
            frame = read(records[start:end])
            if frame.height != end - start:
                text = f"{frame.height} records where there is {end - start}"
                raise pl.exceptions.ComputeError(text)
            frames.append(frame)
        except pl.exceptions.PolarsError as error:
            if end - start == 1:
                bad.append((start, (str(error).strip().splitlines() or ["unreadable"])[0]))
            else:
                middle = (start + end) // 2
                stack += [(middle, end), (start, middle)]
    return frames, bad


def lines_of(data: bytes) -> tuple[list[str], set[int]]:
    r"""Split text into lines (a ``\r`` stays); the second value are the indices of those that are not UTF-8."""
    raw = data.split(b"\n")
    if raw and not raw[-1]:
        raw.pop()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        lines = [line.decode("utf-8", "replace") for line in raw]
        broken = {at for at, line in enumerate(lines) if "\ufffd" in line and not _is_utf8(raw[at])}
        return lines, broken
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines, set()


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
