"""A sink that writes to a table of a PostgreSQL database.

Rows go in as CSV by ``COPY``, straight into the table or, for upserts, into a temporary table from which
``INSERT … ON CONFLICT`` takes them. Every subtask writes transactions of its own; upserts to one table wait for each
other. Times are kept to the microsecond. The password of a connection string is in the string only: it is shown by no
plan, message or log; better still, leave it to ``~/.pgpass`` or the environment, as for any client of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from streamlab.connectors.sinks.sql_tables import MARKS, ROWS, SqlTable, check_table_name, listed, quoted
from streamlab.connectors.sinks.tables import TableSink, Unfit, finer_keys, optional
from streamlab.core.errors import OptionError, SinkError, explained
from streamlab.core.redaction import redacted

CONNECT_TIMEOUT_S = 10
_CHUNK_ROWS = 50_000
_MAX_NAME_BYTES = 63
_LAST_YEAR = 9999
_NULL = r"\N"
_PLAIN: dict[type[pl.DataType], str] = {
    pl.Int8: "smallint",
    pl.UInt8: "smallint",
    pl.Int16: "smallint",
    pl.UInt16: "integer",
    pl.Int32: "integer",
    pl.UInt32: "bigint",
    pl.Int64: "bigint",
    pl.UInt64: "numeric(20,0)",
    pl.Int128: "numeric(39,0)",
    pl.Boolean: "boolean",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.String: "text",
    pl.Categorical: "text",
    pl.Enum: "text",
    pl.Binary: "bytea",
    pl.Date: "date",
    pl.Time: "time without time zone",
}
_TEXTS = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True, kw_only=True)
class PostgresSink(TableSink):
    """Writes to PostgreSQL.

    Attributes
    ----------
    dsn : str
        Where the database is: a URI or ``key=value`` pairs, as libpq reads them.
    namespace : str | None
        The table's schema, in PostgreSQL's sense; None leaves it to the search path.
    """

    dsn: str = field(repr=False)
    namespace: str | None = None
    target: ClassVar[str] = "PostgreSQL"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table_name(self.name, self.table)
        self._facts()

    @property
    def max_parallelism(self) -> int | None:
        """Any: the database takes many writers."""
        return None

    def place(self) -> str:
        """Name the table, the database and its host."""
        facts = self._facts()
        table = self.table if self.namespace is None else f"{self.namespace}.{self.table}"
        host = facts.get("host") or facts.get("hostaddr") or "the default host"
        return f"table {table!r} of PostgreSQL's {facts.get('dbname') or 'default database'} on {host}"

    def is_there(self) -> bool:
        """Say so, and find out: a database that cannot be reached is told before the job starts."""
        return True

    def folded(self, name: str) -> str:
        """Names in quotes keep their case."""
        return name

    def check_name(self, name: str) -> None:
        """PostgreSQL would cut a long name."""
        super().check_name(name)
        if len(name.encode()) > _MAX_NAME_BYTES:
            needed = f"names of at most {_MAX_NAME_BYTES} bytes"
            raise SinkError(explained(self.name, needed=needed, got=repr(name), hint="rename the column"))

    def column_type(self, dtype: pl.DataType) -> str | None:
        """Return the type that holds the same values."""
        if isinstance(dtype, pl.Datetime) and dtype.time_unit != "ns":
            return f"timestamp {'without' if dtype.time_zone is None else 'with'} time zone"
        if isinstance(dtype, pl.Duration) and dtype.time_unit != "ns":
            return "interval"
        if isinstance(dtype, pl.Decimal):
            return f"numeric({dtype.precision},{dtype.scale})"
        return _PLAIN.get(type(dtype))

    def unfit(self, name: str, dtype: pl.DataType) -> Unfit | None:
        """Name text with a zero, dates that are written in another way, and keys that differ by less than is kept."""
        if isinstance(dtype, pl.String):
            zeros = pl.col(name).str.contains("\0", literal=True)
            return Unfit(zeros, "text with the character '\\0'", f"pl.col({name!r}).str.replace_all('\\0', '') before")
        if isinstance(dtype, pl.Date | pl.Datetime):
            beyond = ~pl.col(name).dt.year().is_between(1, _LAST_YEAR)
            return Unfit(beyond, f"times before the year 1 or after {_LAST_YEAR}", "filter them out before")
        return finer_keys(name) if name in self.keys and isinstance(dtype, pl.Time) else None

    @contextmanager
    def connect(self) -> Iterator[SqlTable]:
        """Open a connection."""
        library = optional(self.name, "psycopg", "postgres")
        try:
            connection = library.connect(
                self.dsn,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="streamlab",
                cursor_factory=library.RawCursor,
            )
            with closing(connection):
                yield _PostgresTable(self, connection, library.Error)
        except library.Error as error:
            got = redacted(" ".join(str(error).split()), self._secrets())
            # Without its cause: that may tell the password.
            raise SinkError(explained(self.name, needed=f"to write to {self.place()}", got=got)) from None

    def _facts(self) -> dict[str, Any]:
        """Return what the connection string says. Raises OptionError, without the string, if it cannot be read."""
        library = optional(self.name, "psycopg", "postgres")
        try:
            facts: dict[str, Any] = optional(self.name, "psycopg.conninfo", "postgres").conninfo_to_dict(self.dsn)
        except library.Error:
            facts = {}
        if not facts:
            needed = "a connection string of PostgreSQL"
            hint = "'postgresql://user@host/database' or 'host=… dbname=…'"
            raise OptionError(explained(self.name, needed=needed, got="another text", hint=hint)) from None
        return facts

    def _secrets(self) -> list[str]:
        facts = self._facts()
        return [self.dsn, *(str(facts[name]) for name in ("password", "sslpassword", "passfile") if facts.get(name))]


class _PostgresTable(SqlTable):
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    integers = frozenset({"SMALLINT", "INTEGER", "BIGINT", "NUMERIC"})
    decimals = frozenset({"REAL", "DOUBLE PRECISION", "NUMERIC"})

    def __init__(self, sink: PostgresSink, connection: Any, error: type[Exception]) -> None:
        super().__init__(sink)
        self._connection = connection
        self._error = error
        if sink.namespace is not None:
            self.table = f"{quoted(sink.namespace)}.{self.table}"
            self.marks = f"{quoted(sink.namespace)}.{quoted(MARKS)}"
        # A commit must last: the staged rows go when it returns.
        lasting = "SELECT set_config('synchronous_commit', 'on', false)"
        self.run(f"{lasting} WHERE current_setting('synchronous_commit') = 'off'")

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        return (self._error,)

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description is not None else []
        return rows

    def placeholder(self, number: int) -> str:
        return f"${number}"

    def columns_there(self) -> dict[str, str] | None:
        sql = (
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        )
        return dict(self.run(sql, (self.table,))) or None

    def lock(self, what: str) -> None:
        """Wait for the others: a table cannot be made twice at once, and upserts could wait for each other forever."""
        self.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"streamlab {what} {self.table}",))

    def make_rows_table(self) -> None:
        columns = f"SELECT {listed(self.columns)} FROM {self.table}"
        self.run(f"CREATE TEMP TABLE {quoted(ROWS)} ON COMMIT DROP AS {columns} WITH NO DATA")

    def insert(self, frame: pl.DataFrame, table: str) -> None:
        """Columns become CSV in Polars, and rows in PostgreSQL."""
        ready = frame.select(_stored(*item) for item in frame.schema.items())
        sql = f"COPY {table} ({listed(frame.columns)}) FROM STDIN (FORMAT csv, NULL '{_NULL}')"
        with self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for part in ready.iter_slices(_CHUNK_ROWS):
                copy.write(part.write_csv(include_header=False, null_value=_NULL, quote_style="non_numeric"))


def _stored(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as numbers or text that PostgreSQL reads."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return column.dt.to_string("%Y-%m-%d %H:%M:%S%.6f")
        return column.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%d %H:%M:%S%.6f+00")
    if isinstance(dtype, pl.Duration):
        return pl.format("{} microseconds", column.dt.total_microseconds())
    if isinstance(dtype, pl.Time):
        return column.dt.to_string("%H:%M:%S%.6f")
    if isinstance(dtype, pl.Binary):
        return pl.concat_str(pl.lit(r"\x"), column.bin.encode("hex"))
    return column.cast(pl.String) if isinstance(dtype, _TEXTS) else column
