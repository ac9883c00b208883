"""A sink that writes to a table of a DuckDB database.

A DuckDB file can be open in one process only. The sink has one subtask, and holds the file no longer than a
transaction takes, so that others can read it in between; while others hold it, it waits. Times of day are kept to the
microsecond.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from streamlab.connectors.sinks.sql_tables import ROWS, SqlTable, check_table_name, listed, quoted
from streamlab.connectors.sinks.sqlite import LOCK_TIMEOUT_MS, database_path
from streamlab.connectors.sinks.tables import DELETED, TableSink, Unfit, finer_keys, optional, with_deleted
from streamlab.core.errors import SinkError, explained
from streamlab.core.redaction import credentials_in, redacted, shown_address

_RETRY_S = 0.05
_INTEGERS: dict[type[pl.DataType], str] = {
    pl.Int8: "TINYINT",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.UInt8: "UTINYINT",
    pl.UInt16: "USMALLINT",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
}
_PLAIN: dict[type[pl.DataType], str] = {
    **_INTEGERS,
    pl.Boolean: "BOOLEAN",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
    pl.String: "VARCHAR",
    pl.Categorical: "VARCHAR",
    pl.Enum: "VARCHAR",
    pl.Binary: "BLOB",
    pl.Date: "DATE",
    pl.Time: "TIME",
}
_TIMES = {"ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}
_ZONED = {"ms": "TIMESTAMP WITH TIME ZONE", "us": "TIMESTAMP WITH TIME ZONE", "ns": "TIMESTAMPTZ_NS"}


@dataclass(frozen=True, kw_only=True)
class DuckdbSink(TableSink):
    """Writes to DuckDB.

    Attributes
    ----------
    path : str
        The database's file; made when it is not there.
    lock_timeout_ms : int
        How long to wait for another process that has the file open.
    """

    path: str
    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    target: ClassVar[str] = "DuckDB"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table_name(self.name, self.table)
        object.__setattr__(self, "path", database_path(self.name, self.path))

    def place(self) -> str:
        """Name the file and the table."""
        return f"table {self.table!r} of {shown_address(self.path)}"

    def is_there(self) -> bool:
        """Whether there is a file."""
        optional(self.name, "duckdb", "duckdb")
        return os.path.exists(self.path)

    def column_type(self, dtype: pl.DataType) -> str | None:
        """Return the type of the same values, nested ones included."""
        if isinstance(dtype, pl.Datetime):
            return (_TIMES if dtype.time_zone is None else _ZONED)[dtype.time_unit]
        if isinstance(dtype, pl.Duration):
            return None if dtype.time_unit == "ns" else "INTERVAL"
        if isinstance(dtype, pl.Decimal):
            return f"DECIMAL({dtype.precision}, {dtype.scale})"
        if isinstance(dtype, pl.List | pl.Array):
            return self._list_type(dtype)
        if isinstance(dtype, pl.Struct):
            fields = [(name, self.column_type(inner)) for name, inner in pl.Schema(dtype.to_schema()).items()]
            known = fields and all(kind is not None for _, kind in fields)
            return f"STRUCT({', '.join(f'{quoted(name)} {kind}' for name, kind in fields)})" if known else None
        return _PLAIN.get(type(dtype))

    def _list_type(self, dtype: pl.List | pl.Array) -> str | None:
        inner = self.column_type(pl.Schema({"inner": dtype.inner})["inner"])
        if inner is None:
            return None
        return f"{inner}[{dtype.size}]" if isinstance(dtype, pl.Array) else f"{inner}[]"

    def unfit(self, name: str, dtype: pl.DataType) -> Unfit | None:
        """Say which keys differ by less than is kept: times of day."""
        return finer_keys(name) if name in self.keys and isinstance(dtype, pl.Time) else None

    @contextmanager
    def connect(self) -> Iterator[SqlTable]:
        """Open the file as soon as nobody else has it."""
        library = optional(self.name, "duckdb", "duckdb")
        try:
            with closing(self._connect(library)) as connection:
                yield _DuckdbTable(self, connection, library.Error)
        except library.Error as error:
            held = _is_locked(error)
            hint = "close it there, or open it with read_only=True for as long as a query takes" if held else ""
            needed, secrets = f"to write to {self.place()}", credentials_in(self.path)
            raise SinkError(explained(self.name, needed=needed, got=redacted(str(error), secrets), hint=hint)) from (
                None if secrets else error
            )

    def _connect(self, library: Any) -> Any:
        deadline = time.monotonic() + self.lock_timeout_ms / 1000
        while True:
            try:
                return library.connect(self.path)
            except library.IOException as error:
                if not _is_locked(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_S)


class _DuckdbTable(SqlTable):
    integers = frozenset(_INTEGERS.values()) | {"HUGEINT", "UHUGEINT"}
    decimals = frozenset({"FLOAT", "DOUBLE", "DECIMAL"})

    def __init__(self, sink: DuckdbSink, connection: Any, error: type[Exception]) -> None:
        super().__init__(sink)
        self._connection = connection
        self._error = error

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        return (self._error,)

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows

    def columns_there(self) -> dict[str, str] | None:
        sql = (
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? "
            "AND schema_name = current_schema() AND database_name = current_database()"
        )
        return dict(self.run(sql, (self.sink.table,))) or None

    def definitions(self) -> list[str]:
        """Without a unique index: a merge needs none, and has fewer limits without."""
        return [f"{quoted(name)} {self.sink.column_type(dtype)}" for name, dtype in self.sink.schema.items()]

    def check_keys(self) -> None:
        """Nothing: a merge needs no index."""

    def insert(self, frame: pl.DataFrame, table: str) -> None:
        """DuckDB reads the frame's own memory."""
        with self._registered(frame):
            self.run(self._insertion(table, frame.columns))

    def load(self, frames: Iterable[pl.DataFrame]) -> None:
        """Upserts are merges, to which null keys are keys."""
        if self.sink.mode == "append":
            super().load(frames)
            return
        for frame in frames:
            with self._registered(with_deleted(frame)):
                self.run(self._merging())

    def _merging(self) -> str:
        keys = self.sink.keys
        same = " AND ".join(self.same(f"t.{quoted(key)}", f"s.{quoted(key)}") for key in keys)
        sets = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in self.columns if name not in keys)
        deleted = f"s.{quoted(DELETED)}"
        return (
            f"MERGE INTO {self.table} AS t USING {quoted(ROWS)} AS s ON {same} "
            f"WHEN MATCHED AND {deleted} THEN DELETE "
            f"{f'WHEN MATCHED THEN UPDATE SET {sets} ' if sets else ''}"
            f"WHEN NOT MATCHED AND NOT {deleted} THEN "
            f"INSERT ({listed(self.columns)}) VALUES ({listed(self.columns, 's.')})"
        )

    def _insertion(self, table: str, columns: Sequence[str]) -> str:
        return f"INSERT INTO {table} ({listed(columns)}) SELECT {listed(columns)} FROM {quoted(ROWS)}"

    @contextmanager
    def _registered(self, frame: pl.DataFrame) -> Iterator[None]:
        self._connection.register(ROWS, frame)
        try:
            yield
        finally:
            self._connection.unregister(ROWS)


def _is_locked(error: Exception) -> bool:
    return "lock on file" in str(error)
