"""A sink that writes to a table of an SQLite database.

SQLite takes one writer at a time: the sink has one subtask, and waits when others write. A database that it makes is
in WAL mode, in which readers do not hold writers back; one that is there keeps its mode. SQLite has few types: Boolean
is 0 and 1; times are text in ISO format, those with a time zone in UTC; decimals are text; NaN becomes NULL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from streamlab.connectors.sinks.not_finite import count_not_finite
from streamlab.connectors.sinks.sql_tables import ROWS, SqlTable, check_table_name, listed, quoted
from streamlab.connectors.sinks.tables import TableSink, Unfit
from streamlab.core.errors import OptionError, SinkError, explained

if TYPE_CHECKING:
    import sqlite3

LOCK_TIMEOUT_MS = 30_000
_NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Decimal, pl.Date, pl.Datetime, pl.Time)


@dataclass(frozen=True, kw_only=True)
class SqliteSink(TableSink):
    """Writes to SQLite.

    Attributes
    ----------
    path : str
        The database's file; made when it is not there.
    lock_timeout_ms : int
        How long to wait for others that write to it.
    """

    path: str
    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    target: ClassVar[str] = "SQLite"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table_name(self.name, self.table)
        object.__setattr__(self, "path", database_path(self.name, self.path))

    def place(self) -> str:
        """Name the file and the table."""
        return f"table {self.table!r} of {self.path}"

    def is_there(self) -> bool:
        """Whether there is a file."""
        return os.path.exists(self.path)

    def column_type(self, dtype: pl.DataType) -> str | None:
        """Return one of the five that SQLite has."""
        if isinstance(dtype, _NUMBERS):
            return "INTEGER"
        if isinstance(dtype, _TEXTS):
            return "TEXT"
        if isinstance(dtype, pl.Float32 | pl.Float64):
            return "REAL"
        if isinstance(dtype, pl.Boolean):
            return "BOOLEAN"
        return "BLOB" if isinstance(dtype, pl.Binary) else None

    def nulled(self, frame: pl.DataFrame) -> int:
        """Count NaN."""
        return count_not_finite(frame, infinities=False)

    def unfit(self, name: str, dtype: pl.DataType) -> Unfit | None:
        """Say which key would be the same as null: NaN."""
        if name in self.keys and dtype.is_float():
            return Unfit(pl.col(name).is_nan(), "NaN", f"pl.col({name!r}).fill_nan(…) before")
        return None

    @contextmanager
    def connect(self) -> Iterator[SqlTable]:
        """Open the file."""
        import sqlite3  # noqa: PLC0415 - only who writes to such a file needs it

        try:
            new = not os.path.exists(self.path)
            with closing(
                sqlite3.connect(self.path, timeout=self.lock_timeout_ms / 1000, isolation_level=None)
            ) as connection:
                if new:
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                yield _SqliteTable(self, connection)
        except sqlite3.Error as error:
            raise SinkError(explained(self.name, needed=f"to write to {self.place()}", got=str(error))) from error


class _SqliteTable(SqlTable):
    begin = "BEGIN IMMEDIATE"

    def __init__(self, sink: SqliteSink, connection: sqlite3.Connection) -> None:
        super().__init__(sink)
        self._connection = connection

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        import sqlite3  # noqa: PLC0415 - as above

        return (sqlite3.Error,)

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def columns_there(self) -> dict[str, str] | None:
        found = self.run("SELECT name, type FROM pragma_table_info(?)", (self.sink.table,))
        return dict(found) or None

    def check_types(self, there: dict[str, str]) -> None:
        """Nothing: columns of SQLite take any value."""

    def insert(self, frame: pl.DataFrame, table: str) -> None:
        """Hand over whole columns: ``executemany`` walks them in C, and SQLite offers nothing quicker."""
        columns = (column.to_list() for column in frame.select(_stored(*item) for item in frame.schema.items()))
        marks = ", ".join("?" * frame.width)
        sql = f"INSERT INTO {table} ({listed(frame.columns)}) VALUES ({marks})"
        self._connection.executemany(sql, zip(*columns, strict=True))

    def make_rows_table(self) -> None:
        columns = ", ".join(
            f"{quoted(name)} {self.sink.column_type(dtype)}" for name, dtype in self.sink.schema.items()
        )
        self.run(f"CREATE TEMP TABLE {quoted(ROWS)} ({columns})")

    def same(self, left: str, right: str) -> str:
        return f"{left} IS {right}"


def _stored(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as values that SQLite has."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return column.dt.to_string("%Y-%m-%d %H:%M:%S%.f")
        return column.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%d %H:%M:%S%.f+00:00")
    if isinstance(dtype, pl.Time):
        return column.dt.to_string("%H:%M:%S%.f")
    return column.cast(pl.String) if isinstance(dtype, _TEXTS) else column


def database_path(step: str, path: str) -> str:
    """Return the absolute path of a database's file. Raises OptionError when there can be none."""
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(path):
        raise OptionError(explained(step, needed="a file", got=f"{path!r}, which is a folder"))
    if not os.path.isdir(os.path.dirname(path)):
        raise OptionError(explained(step, needed="a file in a folder that is there", got=repr(path)))
    return path
