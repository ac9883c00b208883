"""Names and values at which tables of databases go their own ways."""

from __future__ import annotations

import datetime as dt
import itertools
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
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sql_tables import quoted
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import TableSink
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import OptionError, SinkError

Values = list[int]
Made = tuple[TableSink, Callable[[], Values]]
Make = Callable[..., Made]
_numbers = itertools.count()


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes a sink of a kind, upserting by all columns but the last, and what reads that one."""

    def made(kind: str, schema: pl.Schema, table: str = "odd") -> Made:
        path, value = str(tmp_path / kind), quoted(list(schema)[-1])
        facts: dict[str, Any] = {"name": "out", "table": table, "schema": schema}
        facts |= {"mode": "upsert", "keys": tuple(schema)[:-1]}
        sql = f"SELECT {value} FROM {quoted(table)}"
        if kind == "sqlite":
            return SqliteSink(path=path, **facts), lambda: _values(sqlite3.connect(path), sql)
        if kind == "duckdb":
            return DuckdbSink(path=path, **facts), lambda: _values(duckdb.connect(path), sql)
        if kind == "delta":
            return DeltaSink(**facts | {"table": path}), lambda: _of_delta(path, list(schema)[-1])
        dsn, own = request.getfixturevalue("postgres"), f"odd {next(_numbers)}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'CREATE SCHEMA "{own}"')
        own_sql = f'SELECT {value} FROM "{own}".{quoted(table)}'
        return PostgresSink(dsn=dsn, namespace=own, **facts), lambda: _values(psycopg.connect(dsn), own_sql)

    return made


def _values(connection: Any, sql: str) -> Values:
    with closing(connection):
        return sorted(row[0] for row in connection.execute(sql).fetchall())


def _of_delta(path: str, column: str) -> Values:
    frames = [pl.read_parquet(file).get_column(column) for file in DeltaTable(path).file_uris()]
    return sorted(value for frame in frames for value in frame)


def play(made: Made, folder: Path, *frames: pl.DataFrame) -> Values:
    sink, read = made
    sink.check_schema(sink.schema)
    writer = sink.open(SinkContext(str(folder / "job"), 0, 1, 0, "out", checkpoints=True))
    for number, frame in enumerate(frames, start=1):
        writer.write(frame)
        writer.commit(writer.prepare(number))
    writer.close()
    return read()


SQL = ("sqlite", "duckdb", "postgres")
KINDS = (*SQL, "delta")


@pytest.mark.parametrize("kind", SQL)
@pytest.mark.parametrize("name", ["excluded", "t", "s", "order", 'sel"ect', "naïve 名", "a.b", "T%s $1 ?:x"])
def test_whatever_tables_and_columns_are_called(make: Make, tmp_path: Path, kind: str, name: str) -> None:
    made = make(kind, pl.Schema({name: pl.String, "from": pl.Int64}), name)
    first = pl.DataFrame({name: ["a", "b", None], "from": [1, 2, 3], ROW_KIND: [0, 0, 0]})
    second = pl.DataFrame({name: ["a", "b", None], "from": [4, 2, 6], ROW_KIND: [2, 3, 2]})
    assert play(made, tmp_path, first, second) == [4, 6]


@pytest.mark.parametrize("kind", SQL)
@pytest.mark.parametrize("name", ["streamlab_rows", "Streamlab_Commits"])
def test_what_jobs_keep_for_themselves_is_refused(make: Make, kind: str, name: str) -> None:
    with pytest.raises(OptionError, match=f"got '{name}', which jobs keep for themselves"):
        make(kind, pl.Schema({"k": pl.Int64, "n": pl.Int64}), name)


KEYS = pl.DataFrame(
    {
        "price": pl.Series(["1.50", "1.5", None, "-0.01"]).cast(pl.Decimal(10, 2)),
        "day": [dt.date(2024, 2, 29), dt.date(1, 1, 1), dt.date(9999, 12, 31), None],
        "at": pl.Series([0, 1, None, -1]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("Europe/Berlin"),
        "size": pl.Series(["B", "b", None, "a"], dtype=pl.Enum(["a", "b", "B"])),
        "open": [True, False, None, False],
        "word": ["", "a'\"\\N", None, "é\n"],
    }
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys", [*([name] for name in KEYS.columns), KEYS.columns])
def test_rows_are_known_by_keys_of_any_type(make: Make, tmp_path: Path, kind: str, keys: list[str]) -> None:
    # Values that are equal are one key, whatever they were made of.
    rows = KEYS.select(keys).unique(keep="first", maintain_order=True)
    made = make(kind, pl.Schema({**rows.schema, "n": pl.Int64}))

    def numbered(start: int, kinds: list[int]) -> pl.DataFrame:
        numbers = pl.int_range(start, start + rows.height, eager=True)
        return rows.with_columns(n=numbers, **{ROW_KIND: pl.Series(kinds, dtype=pl.Int8)})

    first, second = numbered(10, [0] * rows.height), numbered(20, [3, *([2] * (rows.height - 1))])
    assert play(made, tmp_path, first, second) == list(range(21, 20 + rows.height))


NANOSECONDS = pl.Series([1, 2]).cast(pl.Time)


@pytest.mark.parametrize(
    ("kind", "values", "what"),
    [
        ("sqlite", pl.Series([1.0, float("nan")]), "NaN"),
        ("duckdb", NANOSECONDS, "times of day with nanoseconds"),
        ("postgres", NANOSECONDS, "times of day with nanoseconds"),
        ("postgres", pl.Series(["a\0b"]), "text with the character"),
        ("postgres", pl.Series([dt.date(1, 1, 1)]).dt.offset_by("-1y"), "times before the year 1"),
    ],
)
def test_keys_that_would_hit_another_row_or_none_are_refused_before_a_checkpoint_holds_them(
    make: Make, tmp_path: Path, kind: str, values: pl.Series, what: str
) -> None:
    frame = pl.DataFrame({"k": values, "n": range(len(values))})
    sink, read = make(kind, frame.schema)
    writer = sink.open(SinkContext(str(tmp_path / "job"), 0, 1, 0, "out", checkpoints=True))
    writer.write(frame)
    with pytest.raises(SinkError, match=rf"(?s){what}.* in the column 'k'.*→"):
        writer.prepare(1)
    writer.close()
    assert read() == []
