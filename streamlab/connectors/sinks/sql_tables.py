"""Tables of databases that speak SQL: their names, the marks of committed transactions, and upserts as SQL.

Each database has a table ``streamlab_commits`` beside those that jobs write to. It holds the newest committed
checkpoint of each subtask of each job's sink, written in the transaction that writes the rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import polars as pl

from streamlab.connectors.sinks.staging import Transaction
from streamlab.connectors.sinks.tables import Table, TableSink, split_changes
from streamlab.core.errors import OptionError, SinkError, explained

MARKS = "streamlab_commits"
ROWS = "streamlab_rows"
"""A temporary table that holds the rows of an upsert."""


def quoted(name: str) -> str:
    """Return an identifier in quotes.

    Examples
    --------
    >>> print(quoted('size "net"').replace('"', "|"))
    |size ||net|||
    """
    return '"' + name.replace('"', '""') + '"'


def check_table_name(step: str, table: str) -> None:
    """Refuse the names of tables that jobs keep for themselves. Raises OptionError."""
    if isinstance(table, str) and table.lower() in (MARKS, ROWS):
        got = f"{table!r}, which jobs keep for themselves"
        raise OptionError(explained(step, needed="the name of a table of yours", got=got))


def listed(names: Iterable[str], prefix: str = "") -> str:
    """Return identifiers in quotes, with commas between them."""
    return ", ".join(prefix + quoted(name) for name in names)


class SqlTable(Table):
    """A table of an SQL database, on a connection of its own: closing that takes back what was not committed.

    Parameters
    ----------
    sink
        What is written, and how.
    """

    begin: ClassVar[str] = "BEGIN"
    integers: ClassVar[frozenset[str]] = frozenset()
    """Types that a column of whole numbers may go to, whichever of them is its own."""
    decimals: ClassVar[frozenset[str]] = frozenset()
    """Types that a column of numbers may go to."""

    def __init__(self, sink: TableSink) -> None:
        self.sink = sink
        self.table = quoted(sink.table)
        self.marks = quoted(MARKS)
        self.columns = tuple(sink.schema)

    def check(self) -> None:
        """Refuse a table without one of the columns, or whose keys are not unique."""
        there = self.columns_there()
        if there is None:
            return
        known = {self.sink.folded(name) for name in there}
        missing = [name for name in self.columns if self.sink.folded(name) not in known]
        if missing:
            needed = f"the columns {', '.join(map(repr, self.columns))} in {self.sink.place()}, which is there already"
            raise SinkError(
                explained(self.sink.name, needed=needed, got=f"a table without {missing[0]!r}"), lasting=True
            )
        self.check_types(there)
        if self.sink.mode == "upsert":
            self.check_keys()

    def create(self) -> None:
        """Make the tables of rows and of marks."""
        self.run(self.begin)
        self.lock("create")
        self.run(
            f"CREATE TABLE IF NOT EXISTS {self.marks} (job TEXT NOT NULL, sink TEXT NOT NULL, "
            "subtask INTEGER NOT NULL, checkpoint BIGINT NOT NULL, PRIMARY KEY (job, sink, subtask))"
        )
        if self.columns_there() is None:
            self.run(f"CREATE TABLE {self.table} ({', '.join(self.definitions())})")
        else:
            self.check()
        self.run("COMMIT")

    def committed(self, job: str, step: str, parallelism: int) -> int | None:
        """Return the newest mark of the job's sink, whichever subtask made it."""
        where = f"job = {self.placeholder(1)} AND sink = {self.placeholder(2)}"
        found = self.run(f"SELECT max(checkpoint) FROM {self.marks} WHERE {where}", (job, step))
        return None if found[0][0] is None else int(found[0][0])

    def apply(self, frames: Iterable[pl.DataFrame], transaction: Transaction | None) -> None:
        """Write rows and mark in one transaction."""
        self.run(self.begin)
        if transaction is None or self._advance(transaction):
            self.load(frames)
        self.run("COMMIT")

    def load(self, frames: Iterable[pl.DataFrame]) -> None:
        """Write rows within the transaction that is open."""
        if self.sink.mode == "append":
            for frame in frames:
                self.insert(frame.select(self.columns), self.table)
            return
        self.lock("upsert")
        self.make_rows_table()
        for frame in frames:
            written, deleted = split_changes(frame)
            self._merge(written, _upserts(self.table, self.columns, self.sink.keys), self._upserts_of_null_keys())
            self._merge(deleted, _deletes(self.table, self.sink.keys), self._deletes_of_null_keys())

    def definitions(self) -> list[str]:
        """Return the columns of the table as they are when it is made."""
        types = [(name, self.sink.column_type(dtype)) for name, dtype in self.sink.schema.items()]
        columns = [f"{quoted(name)} {kind}" for name, kind in types]
        return [*columns, f"UNIQUE ({listed(self.sink.keys)})"] if self.sink.mode == "upsert" else columns

    def check_types(self, there: dict[str, str]) -> None:
        """Refuse a table whose columns have types that the rows do not fit into.

        Text fits into what it can be read as, and nested values into what the database makes of them: the rows decide.
        """
        types = {self.sink.folded(name): _bare(kind) for name, kind in there.items()}
        for name, dtype in self.sink.schema.items():
            own, other = _bare(self.sink.column_type(dtype) or ""), types[self.sink.folded(name)]
            number = dtype.is_numeric() and other in self.decimals | (self.integers if dtype.is_integer() else set())
            if not (
                number or own == other or own == _bare(self.sink.column_type(pl.String()) or "") or dtype.is_nested()
            ):
                needed = f"a column {name!r} of type {own} in {self.sink.place()}, which is there already"
                raise SinkError(explained(self.sink.name, needed=needed, got=other), lasting=True)

    def check_keys(self) -> None:
        """Refuse a table in which a key may have several rows."""
        upsert = _upserts(self.table, self.columns, self.sink.keys, rows=self.table)[0]
        try:
            self.run(f"EXPLAIN {upsert}")
        except self.errors as error:
            keys = ", ".join(map(repr, self.sink.keys))
            raise SinkError(
                explained(
                    self.sink.name,
                    needed=f"a unique index on {keys} of {self.sink.place()}, which is there already",
                    got=str(error).partition("\n")[0],
                    hint="CREATE UNIQUE INDEX ON that table, or keys that are unique in it",
                ),
                lasting=True,
            ) from None

    @property
    @abstractmethod
    def errors(self) -> tuple[type[Exception], ...]:
        """What the database raises."""

    @abstractmethod
    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement to its end and return its rows."""

    @abstractmethod
    def columns_there(self) -> dict[str, str] | None:
        """Return the types of the columns by name; None when there is no such table."""

    @abstractmethod
    def insert(self, frame: pl.DataFrame, table: str) -> None:
        """Add rows to a table whose quoted name is given."""

    def make_rows_table(self) -> None:
        """Make the temporary table `ROWS`, empty."""

    def lock(self, what: str) -> None:
        """Keep others from doing the same until the transaction ends."""

    def placeholder(self, number: int) -> str:
        """Return what stands for a value in a statement, counted from one."""
        return "?"

    def same(self, left: str, right: str) -> str:
        """Return a comparison to which null equals null."""
        return f"{left} IS NOT DISTINCT FROM {right}"

    def _advance(self, transaction: Transaction) -> bool:
        """Set the mark; return whether the rows are still to be written."""
        values = (transaction.job, transaction.step, transaction.subtask, transaction.checkpoint)
        sql = (
            f"INSERT INTO {self.marks} AS m (job, sink, subtask, checkpoint) "
            f"VALUES ({', '.join(map(self.placeholder, range(1, 5)))}) ON CONFLICT (job, sink, subtask) "
            "DO UPDATE SET checkpoint = excluded.checkpoint WHERE m.checkpoint < excluded.checkpoint "
            "RETURNING checkpoint"
        )
        return bool(self.run(sql, values))

    def _merge(self, frame: pl.DataFrame, statements: Sequence[str], of_null_keys: Sequence[str]) -> None:
        if not frame.height:
            return
        self.insert(frame.select(self.columns), quoted(ROWS))
        null_keys = frame.select(pl.any_horizontal(pl.col(*self.sink.keys).is_null()).any()).item()
        for sql in (*statements, *(of_null_keys if null_keys else ())):
            self.run(sql)
        self.run(f"DELETE FROM {quoted(ROWS)}")

    # -- keys with nulls: a unique index takes them for different ones, so they are looked for one by one ------------

    def _upserts_of_null_keys(self) -> tuple[str, ...]:
        others = [name for name in self.columns if name not in self.sink.keys]
        null, same = self._null_and_same()
        sets = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in others)
        update = f"UPDATE {self.table} AS t SET {sets} FROM {quoted(ROWS)} AS s WHERE {null} AND {same}"
        insert = (
            f"INSERT INTO {self.table} ({listed(self.columns)}) SELECT {listed(self.columns, 's.')} "
            f"FROM {quoted(ROWS)} AS s WHERE {null} AND NOT EXISTS (SELECT 1 FROM {self.table} AS t WHERE {same})"
        )
        return (update, insert) if others else (insert,)

    def _deletes_of_null_keys(self) -> tuple[str, ...]:
        null, same = self._null_and_same()
        rows = f"SELECT 1 FROM {quoted(ROWS)} AS s WHERE {null} AND {same}"
        return (f"DELETE FROM {self.table} AS t WHERE EXISTS ({rows})",)

    def _null_and_same(self) -> tuple[str, str]:
        null = " OR ".join(f"s.{quoted(key)} IS NULL" for key in self.sink.keys)
        same = " AND ".join(self.same(f"t.{quoted(key)}", f"s.{quoted(key)}") for key in self.sink.keys)
        return f"({null})", same


def _bare(kind: str) -> str:
    """Return the name of a type without its size."""
    return kind.partition("(")[0].upper()


def _upserts(table: str, columns: Sequence[str], keys: Sequence[str], rows: str = quoted(ROWS)) -> tuple[str, ...]:
    """Return what upserts the rows whose keys are not null."""
    sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in columns if name not in keys)
    present = " AND ".join(f"{quoted(key)} IS NOT NULL" for key in keys)
    select = f"SELECT {listed(columns)} FROM {rows} WHERE {present}"
    update = f"UPDATE SET {sets}" if sets else "NOTHING"
    # By another name, since a table may be called "excluded".
    return (f"INSERT INTO {table} AS t ({listed(columns)}) {select} ON CONFLICT ({listed(keys)}) DO {update}",)


def _deletes(table: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return what deletes the rows whose keys are not null."""
    return (f"DELETE FROM {table} WHERE ({listed(keys)}) IN (SELECT {listed(keys)} FROM {quoted(ROWS)})",)
