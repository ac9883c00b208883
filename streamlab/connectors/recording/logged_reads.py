"""Records of a log as a reader gives them out: cut so that each read keeps to its limit."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streamlab.connectors.contracts.source import Position, Read
from streamlab.connectors.formats.base import differences
from streamlab.connectors.recording.recording_log import LogCursor, Record
from streamlab.core.errors import SourceError, explained
from streamlab.core.messages import DEAD_LETTER_SCHEMA


class LoggedReads:
    """A log's records as reads, each cut so that it keeps to a limit.

    A position is the number of a record, or that and how many of its rows were given out.

    Parameters
    ----------
    folder
        The log's.
    position
        Where to begin.
    schema
        Columns that the records must have.
    """

    def __init__(self, folder: Path, position: Position, schema: pl.Schema) -> None:
        match position:
            case int(number):
                self._row = 0
            case (int(number), int(row)):
                self._row = row
            case _:
                needed = "a position in a log: a record's number"
                raise SourceError(explained("recording", needed=needed, got=repr(position)))
        self._cursor: LogCursor | None = LogCursor(folder, number)
        self._folder, self._schema = folder, schema
        self._number = number
        self._record: Record | None = None
        self.is_closed = False
        """Whether the last record was read, behind which nothing comes."""

    @property
    def number(self) -> int:
        """The first record of which not all was given out."""
        return self._number

    @property
    def position(self) -> Position:
        """Where reading goes on."""
        return (self._number, self._row) if self._row else self._number

    def look(self) -> Record | None:
        """Return the record that is given out next, or in part already; None when the log holds no more.

        Raises
        ------
        SourceError
            If the log is damaged.
        """
        if self._record is None and self._cursor is not None and not self.is_closed:
            record = self._cursor.next()
            if record is not None and not self._is_sound(record):
                needed = f"the columns of the recording in {self._folder}"
                found = differences(self._schema, record.frame.schema) or ["other rows than it says"]
                got = f"record {record.header.number:,} with others: {'; '.join(found)}"
                raise SourceError(explained("recording", needed=needed, got=got))
            self._record = record
        return self._record

    def _is_sound(self, record: Record) -> bool:
        """Return whether a record holds what it says, and what was recorded."""
        letters, frame = record.letters, record.frame
        is_told = letters is None or letters.schema == DEAD_LETTER_SCHEMA
        return is_told and frame.schema == self._schema and frame.height == record.header.rows

    def put(self, record: Record) -> None:
        """Give out this record next, which was just written behind all others; the log is not read any more."""
        self.close()
        self._record = record

    def next(self, limit: int) -> Read | None:
        """Give out rows of the next record, `limit` at most; None when the log holds no more."""
        record = self.look()
        if record is None:
            return None
        whole = record.frame
        rows = whole.slice(self._row, limit)
        self._row += rows.height
        if self._row < whole.height:
            return Read(rows, self.position, rows.height)
        latest = record.header.max_time_us if rows.height == whole.height else None
        self._number, self._row, self._record = self._number + 1, 0, None
        self.is_closed = record.header.is_last
        return Read(rows, self.position, rows.height, latest, record.letters)

    def make_durable(self) -> None:
        """See to it that what was read survives a power failure. Raises OSError if the disk fails."""
        if self._cursor is not None:
            self._cursor.make_durable()

    def close(self) -> None:
        """Close the log's file."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None
