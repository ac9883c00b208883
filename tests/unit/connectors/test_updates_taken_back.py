"""A filter may let through the row before an update and not the row after: what was written has to go."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
import pytest
from deltalake import DeltaTable

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.connectors.sinks.batches import BatchesSink
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import TableSink
from streamlab.core.changelog import ROW_KIND

SCHEMA = pl.Schema({"k": pl.Int64, "n": pl.Int64})
Rows = list[tuple[Any, ...]]


def changes(*rows: tuple[int | None, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, {**SCHEMA, ROW_KIND: pl.Int8}, orient="row")


@pytest.fixture(params=["sqlite", "duckdb", "postgres", "delta"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TableSink, Callable[[], Rows]]:
    """Return a sink of each kind, and what its table holds."""
    facts: dict[str, Any] = {"name": "out", "table": "back", "schema": SCHEMA, "mode": "upsert", "keys": ("k",)}
    path = str(tmp_path / "db")
    if request.param == "sqlite":

        def read() -> Rows:
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute("SELECT k, n FROM back").fetchall()

        return SqliteSink(path=path, **facts), read
    if request.param == "duckdb":

        def read() -> Rows:
            with closing(duckdb.connect(path)) as connection:
                return connection.execute("SELECT k, n FROM back").fetchall()

        return DuckdbSink(path=path, **facts), read
    if request.param == "delta":
        files = lambda: DeltaTable(path).file_uris()  # noqa: E731
        sink = DeltaSink(**{**facts, "table": path})
        return sink, lambda: [row for file in files() for row in pl.read_parquet(file).select("k", "n").rows()]
    dsn = request.getfixturevalue("postgres")

    def read() -> Rows:
        with psycopg.connect(dsn) as connection:
            return connection.execute("SELECT k, n FROM back").fetchall()

    return PostgresSink(dsn=dsn, **facts), read


def test_a_row_whose_next_value_a_filter_drops_is_deleted(table, tmp_path: Path) -> None:
    sink, read = table
    writer = sink.open(SinkContext(str(tmp_path / "job"), 0, 1, 0, "out", checkpoints=True))
    parts = (
        [changes((1, 10, 0), (2, 20, 0), (None, 30, 0), (3, 40, 0))],
        [changes((1, 10, 1), (None, 30, 1), (3, 40, 1), (3, 41, 2))],
        # In one transaction: shown again, and gone again.
        [changes((1, 11, 2), (2, 20, 1)), changes((1, 11, 1)), changes((2, 22, 2))],
    )
    for number, frames in enumerate(parts, start=1):
        for frame in frames:
            writer.write(frame)
        writer.commit(writer.prepare(number))
    writer.close()
    assert sorted(read()) == [(2, 22), (3, 41)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("k",), [(1, 10, "-D"), (2, 21, "+U")]),
        (None, [(1, 10, "-D"), (2, 20, "-D"), (2, 21, "+U")]),
    ],
)
def test_a_function_that_wants_no_updates_before_is_told_of_it(keys, expected) -> None:
    seen: list[pl.DataFrame] = []
    writer = BatchesSink("out", seen.append, update_before=False, keys=keys).open(SinkContext("", 0, 1, 0, "out"))
    writer.write(changes((1, 10, 1), (2, 20, 1), (2, 21, 2)))
    assert seen[0].rows() == expected
