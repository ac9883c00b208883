"""Every sink of two phases, and a job that is played against one: checkpoints, kills, recoveries, rescaling."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import polars as pl
import psycopg
from deltalake import DeltaTable

from streamlab.connectors.contracts.sink import Pending, Sink, SinkContext, SinkWriter
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.files import CsvSink, NdjsonSink, ParquetSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sql_tables import quoted
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.staging import Staging
from streamlab.core.changelog import ROW_KIND, RowKind

SCHEMA = pl.Schema({"k": pl.Int64, "n": pl.Int64})
FILES = {
    "parquet": (ParquetSink, pl.read_parquet),
    "csv": (CsvSink, pl.read_csv),
    "ndjson": (NdjsonSink, pl.read_ndjson),
}
TABLES = ("sqlite", "duckdb", "postgres", "delta")
EVERY = (*FILES, *TABLES)
_TAKEN_BACK = {5: RowKind.DELETE, 8: RowKind.UPDATE_BEFORE, 11: RowKind.DELETE}
"""Row kinds by the last number, counted in dozens."""
Row = tuple[int | None, int]
_numbers = itertools.count()


@dataclass(frozen=True)
class Target:
    """A sink, and what a reader of its target sees."""

    sink: Sink
    rows: Callable[[], list[Row]]
    hidden: Callable[[], list[str]]
    """What is there that readers do not look at."""


def target(kind: str, folder: Path, dsn: Callable[[], str], mode: str = "append", **more: Any) -> Target:
    """Return a new, empty target; `dsn` starts PostgreSQL when it is called."""
    keys = ("k",) if mode == "upsert" else ()
    options: dict[str, Any] = {"name": "out", "schema": SCHEMA, "mode": mode, "keys": keys, "roll_rows": 3, **more}
    place = folder / f"{kind}-{next(_numbers)}"
    if kind in FILES:
        return _folder(kind, place, options["roll_rows"])
    if kind == "sqlite":
        return Target(SqliteSink(path=str(place), table="t", **options), lambda: _sqlite(place), list)
    if kind == "duckdb":
        return Target(DuckdbSink(path=str(place), table="t", **options), lambda: _duckdb(place), list)
    if kind == "delta":
        return Target(DeltaSink(table=str(place), **options), lambda: _delta(place), list)
    at, table = dsn(), f"t{os.getpid()}-{next(_numbers)}"
    return Target(PostgresSink(dsn=at, table=table, **options), lambda: _postgres(at, table), list)


def _folder(kind: str, folder: Path, rolled: int) -> Target:
    sink, read = FILES[kind]

    def rows() -> list[Row]:
        paths = folder.glob(f"part-*.{sink.suffix}")
        return [row for path in paths for row in read(path).select(pl.col(*SCHEMA).cast(pl.Int64)).rows()]

    return Target(sink("out", str(folder), roll_rows=rolled), rows, lambda: [p.name for p in folder.glob(".*")])


def _sqlite(path: Path) -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT k, n FROM t").fetchall()


def _duckdb(path: Path) -> list[Row]:
    with closing(duckdb.connect(str(path))) as connection:
        return connection.execute("SELECT k, n FROM t").fetchall()


def _delta(path: Path) -> list[Row]:
    frames = [pl.read_parquet(file).select("k", "n") for file in DeltaTable(str(path)).file_uris()]
    return [row for frame in frames for row in frame.rows()]


def _postgres(dsn: str, table: str) -> list[Row]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT k, n FROM {quoted(table)}").fetchall()


def event(number: int, mode: str) -> tuple[int | None, int, int]:
    """Return the key, the value and the row kind of an event; keys come again, one is null, some rows go."""
    key = None if number % 5 == 4 else (number * 7) % 5
    return key, number, int(_TAKEN_BACK.get(number % 12, RowKind.INSERT) if mode == "upsert" else RowKind.INSERT)


def expected(numbers: list[int], mode: str) -> list[Row]:
    """Return the rows that are there after these events."""
    events = [event(number, mode) for number in sorted(numbers)]
    if mode == "append":
        return [(key, number) for key, number, _ in events]
    last = {key: (number, kind) for key, number, kind in events}
    return [(key, number) for key, (number, kind) in last.items() if kind == RowKind.INSERT]


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row[1])


class Crash(BaseException):
    """The process is killed."""


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """Kill the process at this step of committing: while rows go over, before staged ones go, between two renames."""
    steps = itertools.count()

    def pass_by() -> None:
        if next(steps) == step:
            raise Crash

    frames, remove, rename = Staging.frames, Staging.remove, os.replace

    def slow_frames(self: Staging, transaction: Any) -> Iterator[pl.DataFrame]:
        for frame in frames(self, transaction):
            yield frame
            pass_by()

    def slow_remove(self: Staging, transaction: Any) -> None:
        pass_by()
        remove(self, transaction)

    def slow_rename(source: str, to: str) -> None:
        pass_by()
        rename(source, to)

    with (
        mock.patch.object(Staging, "frames", slow_frames),
        mock.patch.object(Staging, "remove", slow_remove),
        mock.patch("os.replace", slow_rename),
    ):
        yield


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint, as a manifest keeps it."""

    id: int | None
    position: int
    pending: tuple[tuple[int, Pending], ...]
    """Transactions with their subtasks, in the order of their checkpoints."""


class PlayedJob:
    """The part of the runtime that sinks see, and what a reader must see of it.

    Parameters
    ----------
    target
        Where it writes.
    folder
        The job's own.
    mode
        What the sink does.
    """

    def __init__(self, target: Target, folder: Path, mode: str = "append") -> None:
        self.target = target
        self.mode = mode
        self._context = SinkContext(str(folder), 0, 1, 0, "out", checkpoints=True)
        self._ids = itertools.count(1)
        self._attempts = itertools.count()
        self.last = Checkpoint(None, 0, ())
        self._prepared: list[tuple[int, Pending]] = []
        self._rows_of: dict[Pending, list[int]] = {}
        self.committed: set[int] = set()
        self._start(1)

    def write(self, subtask: int, count: int) -> None:
        """Write the next events; with keys a subtask has its own ones."""
        for number in range(self._position, self._position + count):
            key, value, kind = event(number, self.mode)
            at = (subtask if self.mode == "append" else hash(key)) % len(self._writers)
            frame = pl.DataFrame({"k": [key], "n": [value], ROW_KIND: [kind]}, {**SCHEMA, ROW_KIND: pl.Int8})
            self._writers[at].write(frame if self.mode == "upsert" else frame.drop(ROW_KIND))
            self._written[at].append(number)
        self._position += count

    def checkpoint(self, *, complete: bool = True, killed: int | None = None) -> None:
        """Take a checkpoint that comes to nothing, or is complete and committed, or is killed while that goes on."""
        checkpoint_id = next(self._ids)
        for at, writer in enumerate(self._writers):
            pending = writer.prepare(checkpoint_id)
            assert pending or not self._written[at]
            if pending:
                self._prepared.append((at, pending))
                self._rows_of[pending] = self._written[at]
            self._written[at] = []
        if not complete:
            return
        self.last = Checkpoint(checkpoint_id, self._position, tuple(self._prepared))
        self._prepared = []
        self._commit(killed)

    def recover(self, parallelism: int, killed: int | None = None) -> None:
        """Start a new attempt from the last complete checkpoint; the one before it is dead."""
        self._prepared = []
        self._start(parallelism)
        self._commit(killed)

    def close(self) -> None:
        """End the writers, without a commit."""
        for writer in self._writers:
            writer.close()

    def check(self) -> None:
        """Raise AssertionError unless a reader sees what is committed, once."""
        assert in_order(self.target.rows()) == in_order(expected(list(self.committed), self.mode))

    def check_end(self) -> None:
        """Raise AssertionError unless all rows are there, once, and nothing else is."""
        assert self.committed == set(range(self._position))
        self.check()
        assert self.target.hidden() == []
        staged = (Path(self._context.folder) / "staged").rglob("*.arrow")
        assert [path.name for path in staged] == []

    def _start(self, parallelism: int) -> None:
        parallelism = min(parallelism, self.target.sink.max_parallelism or parallelism)
        attempt = next(self._attempts)
        context = replace(self._context, parallelism=parallelism, attempt=attempt, restored=self.last.id)
        self._writers: list[SinkWriter] = [
            self.target.sink.open(replace(context, subtask=subtask)) for subtask in range(parallelism)
        ]
        self._written: list[list[int]] = [[] for _ in self._writers]
        self._position = self.last.position

    def _commit(self, killed: int | None) -> None:
        """Commit what the last checkpoint has pending; each subtask's in order, by whichever writer there is."""
        try:
            with killed_at(-1 if killed is None else killed):
                for at, pending in self.last.pending:
                    self._writers[at % len(self._writers)].commit(pending)
                    self.committed.update(self._rows_of[pending])
        except Crash:
            seen = [number for _, number in self.target.rows()]
            assert len(set(seen)) == len(seen)
            self.recover(len(self._writers) % 3 + 1)
