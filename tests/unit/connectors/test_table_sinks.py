"""Sinks of tables: dtypes, tables that are there already, changelogs, others at the same database, secrets."""

from __future__ import annotations

import datetime as dt
import itertools
import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
import pytest
from deltalake import DeltaTable

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.connectors.sinks import tables
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import TableSink
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import OptionError, SinkError
from streamlab.core.redaction import redacted

NUMBERS = pl.Schema({"k": pl.Int64, "text": pl.String})
UTC = dt.UTC
MOMENT = dt.datetime(1969, 12, 31, 23, 59, 59, 500_001, tzinfo=UTC)
LEAP_DAY = dt.datetime(2024, 2, 29, tzinfo=UTC)


def context(folder: Path, *, checkpoints: bool = True, **more: Any) -> SinkContext:
    return SinkContext(str(folder / "job"), 0, 1, 0, "out", checkpoints=checkpoints, **more)


def write(sink: TableSink, folder: Path, *frames: pl.DataFrame) -> None:
    writer = sink.open(context(folder))
    for number, frame in enumerate(frames, start=1):
        writer.write(frame)
        writer.commit(writer.prepare(number))
    writer.close()


class Database:
    """A database of one kind, new for each test."""

    def __init__(self, kind: str, folder: Path, dsn: str) -> None:
        self.kind = kind
        self.folder = folder
        self.dsn = dsn
        self.path = str(folder / "db")

    def sink(self, schema: pl.Schema, mode: Any = "append", keys: tuple[str, ...] = (), **more: Any) -> TableSink:
        options: dict[str, Any] = {"name": "out", "table": "t", "schema": schema, "mode": mode, "keys": keys, **more}
        if self.kind == "sqlite":
            return SqliteSink(path=self.path, **options)
        if self.kind == "duckdb":
            return DuckdbSink(path=self.path, **options)
        return PostgresSink(dsn=self.dsn, namespace="of test", **options)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.path)) as connection, connection:
                return connection.execute(sql).fetchall()
        if self.kind == "duckdb":
            with closing(duckdb.connect(self.path)) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.dsn) as connection:
            connection.execute('SET search_path TO "of test"')
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=["sqlite", "duckdb", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    dsn = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    if dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute('CREATE SCHEMA "of test"')
    yield Database(request.param, tmp_path, dsn)
    if dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute('DROP SCHEMA "of test" CASCADE')


# -- dtypes ------------------------------------------------------------------------------------------------------------

COMMON = pl.DataFrame(
    {
        "an \"odd\" 'name'; --%s": pl.Series([1, None, -3], dtype=pl.Int64),
        "i8": pl.Series([-128, None, 127], dtype=pl.Int8),
        "u32": pl.Series([0, None, 2**32 - 1], dtype=pl.UInt32),
        "float": pl.Series([-1.5, None, 1e300]),
        "yes": pl.Series([True, None, False]),
        "text": pl.Series(["", None, 'a"b,\n\\N\té€😀']),
        "bytes": pl.Series([b"", None, b"\x00\xff\\x"]),
        "kind": pl.Series(["x", None, ""], dtype=pl.Categorical),
    }
)


def test_values_come_back(database: Database) -> None:
    sink = database.sink(COMMON.schema)
    sink.check_schema(COMMON.schema)
    write(pickle.loads(pickle.dumps(sink)), database.folder, COMMON, COMMON.head(1))
    assert database.run("SELECT * FROM t") == [*COMMON.rows(), COMMON.row(0)]


ODD = pl.DataFrame(
    {
        "u64": pl.Series([2**64 - 1, None], dtype=pl.UInt64),
        "f32": pl.Series([1.5, None], dtype=pl.Float32),
        "nan": [float("inf"), None],
        "day": [dt.date(1, 1, 1), None],
        "clock": [dt.time(23, 59, 59, 999_999), None],
        "naive": pl.Series([MOMENT.replace(tzinfo=None), None], dtype=pl.Datetime("us")),
        "ms": pl.Series([LEAP_DAY.replace(tzinfo=None), None], dtype=pl.Datetime("ms")),
        "zoned": pl.Series([MOMENT, None]).dt.convert_time_zone("Asia/Kolkata"),
        "span": pl.Series([dt.timedelta(days=-1, microseconds=1), None], dtype=pl.Duration("us")),
        "money": pl.Series([Decimal("-1.50"), None], dtype=pl.Decimal(10, 2)),
    }
)


def test_values_of_sqlite(tmp_path: Path) -> None:
    frame = ODD.drop("u64", "span")
    database = Database("sqlite", tmp_path, "")
    write(database.sink(frame.schema), tmp_path, frame)
    first, nulls = database.run("SELECT * FROM t")
    assert first == (
        1.5,
        float("inf"),
        "0001-01-01",
        "23:59:59.999999",
        "1969-12-31 23:59:59.500001",
        "2024-02-29 00:00:00",
        "1969-12-31 23:59:59.500001+00:00",
        "-1.50",
    )
    assert set(nulls) == {None}
    assert database.run("SELECT julianday(ms) FROM t LIMIT 1") == [(2460369.5,)]


def test_values_of_duckdb(tmp_path: Path) -> None:
    nested = pl.DataFrame({"list": [[1, None], None], "row": [{"a": "x", "b c": [1.5]}, None]})
    frame = ODD.hstack(nested)
    database = Database("duckdb", tmp_path, "")
    write(database.sink(frame.schema), tmp_path, frame)
    zoned = "CAST(epoch_us(zoned) AS BIGINT)"
    first, nulls = database.run(f"SELECT * REPLACE ({zoned} AS zoned) FROM t")
    expected = (*ODD.with_columns(pl.col("zoned").dt.epoch("us")).row(0), *nested.row(0))
    assert first == expected
    assert set(nulls) == {None}


def test_values_of_postgres(tmp_path: Path, postgres: str) -> None:
    sink = PostgresSink(name="out", dsn=postgres, table="values", schema=ODD.schema)
    write(sink, tmp_path, ODD)
    with psycopg.connect(postgres) as connection:
        first, nulls = connection.execute('SELECT * FROM "values"').fetchall()
    assert first == ODD.row(0)
    assert set(nulls) == {None}


def test_values_of_delta(tmp_path: Path) -> None:
    nested = pl.DataFrame({"list": [[1, None], None], "row": [{"a": "x", "b c": [1.5]}, None]})
    frame = COMMON.head(2).hstack(ODD.drop("clock", "span")).hstack(nested)
    write(DeltaSink(name="out", table=str(tmp_path / "t"), schema=frame.schema), tmp_path, frame)
    (file,) = DeltaTable(str(tmp_path / "t")).file_uris()
    there = pl.read_parquet(file)
    assert there.columns == frame.columns
    assert there.row(0) == frame.with_columns(pl.col("u64").cast(pl.Decimal(20, 0))).row(0)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (SqliteSink, pl.UInt64),
        (SqliteSink, pl.Duration("us")),
        (SqliteSink, pl.List(pl.Int64)),
        (DuckdbSink, pl.Int128),
        (DuckdbSink, pl.Duration("ns")),
        (DuckdbSink, pl.Struct({"a": pl.List(pl.Null)})),
        (PostgresSink, pl.Datetime("ns")),
        (PostgresSink, pl.Struct({"a": pl.Int64})),
        (DeltaSink, pl.Time),
        (DeltaSink, pl.Array(pl.Datetime("ns"), 2)),
        (DeltaSink, pl.Struct({"a": pl.Duration("us")})),
        *itertools.product((SqliteSink, DuckdbSink, PostgresSink, DeltaSink), (pl.Null, pl.Object)),
    ],
)
def test_a_column_that_cannot_be_held_is_refused(kind: type[TableSink], dtype: Any, tmp_path: Path) -> None:
    schema = pl.Schema({"fine": pl.Int64, "odd": dtype})
    place = {"dsn": "host=/nowhere"} if kind is PostgresSink else {"path": str(tmp_path / "db")}
    sink = kind(name="out", table=str(tmp_path / "t"), schema=schema, **({} if kind is DeltaSink else place))
    with pytest.raises(SinkError, match=r"(?s)'odd' of type.*→"):
        sink.check_schema(schema)


def test_names_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    schema = pl.Schema({"size": pl.Int64, "Size": pl.Int64})
    with pytest.raises(SinkError, match="'size' and 'Size'"):
        SqliteSink(name="out", path=str(tmp_path / "db"), table="t", schema=schema).check_schema(schema)
    long = pl.Schema({"é" * 32: pl.Int64})
    with pytest.raises(SinkError, match="63 bytes"):
        PostgresSink(name="out", dsn="host=/nowhere", table="t", schema=long).check_schema(long)


# -- tables that are there ---------------------------------------------------------------------------------------------


def test_a_table_may_have_more_columns(database: Database) -> None:
    database.run("CREATE TABLE t (extra INTEGER DEFAULT 7, text VARCHAR(10), k INTEGER UNIQUE)")
    sink = database.sink(NUMBERS, "upsert", ("k",))
    sink.check_schema(NUMBERS)
    write(sink, database.folder, pl.DataFrame({"k": [1, 2], "text": ["a", "b"]}))
    database.run("UPDATE t SET extra = 8")
    later = pl.DataFrame({"k": [1, 3], "text": ["c", "d"]})
    write(sink, database.folder / "again", later)
    assert sorted(database.run("SELECT k, text, extra FROM t")) == [(1, "c", 8), (2, "b", 8), (3, "d", 7)]


def test_a_table_without_a_column_is_refused(database: Database) -> None:
    database.run("CREATE TABLE t (k INTEGER)")
    with pytest.raises(SinkError, match="a table without 'text'"):
        database.sink(NUMBERS).check_schema(NUMBERS)
    with pytest.raises(SinkError, match="a table without 'text'"):
        database.sink(NUMBERS).open(context(database.folder))


def test_upserts_need_keys_that_are_unique(database: Database) -> None:
    database.run("CREATE TABLE t (k INTEGER, text VARCHAR(10))")
    sink = database.sink(NUMBERS, "upsert", ("k",))
    if database.kind == "duckdb":
        sink.check_schema(NUMBERS)
        return
    with pytest.raises(SinkError, match=r"(?s)unique index on 'k'.*CREATE UNIQUE INDEX"):
        sink.check_schema(NUMBERS)
    database.run("CREATE UNIQUE INDEX one ON t (k)")
    sink.check_schema(NUMBERS)


@pytest.mark.parametrize("column", ["k DATE", "k BOOLEAN"])
def test_a_column_of_another_type_is_refused(database: Database, column: str) -> None:
    if database.kind == "sqlite":
        return  # its columns take any value
    database.run(f"CREATE TABLE t ({column}, text VARCHAR(10))")
    with pytest.raises(SinkError, match="a column 'k' of type BIGINT"):
        database.sink(NUMBERS).check_schema(NUMBERS)


def test_text_goes_to_what_postgres_can_read_it_as(tmp_path: Path, postgres: str) -> None:
    schema = pl.Schema({"id": pl.String, "doc": pl.String})
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE documents (id uuid UNIQUE, doc jsonb)")
    sink = PostgresSink(name="out", dsn=postgres, table="documents", schema=schema, mode="upsert", keys=("id",))
    sink.check_schema(schema)
    uuid = "5f0c2a52-6d3e-4d7e-8a53-0a0a0a0a0a0a"
    write(sink, tmp_path, pl.DataFrame({"id": [uuid, uuid], "doc": ['{"a": 1}', '{"a": [2]}']}))
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT id::text, doc FROM documents").fetchall() == [(uuid, {"a": [2]})]
    writer = sink.open(context(tmp_path / "bad"))
    writer.write(pl.DataFrame({"id": ["no uuid"], "doc": ["{}"]}))
    pending = writer.prepare(1)
    with pytest.raises(SinkError, match="invalid input syntax for type uuid"):
        writer.commit(pending)


def test_a_delta_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    sink = DeltaSink(name="out", table=str(tmp_path / "t"), schema=NUMBERS)
    write(sink, tmp_path)
    sink.check_schema(NUMBERS)
    for schema in (pl.Schema({"k": pl.String}), pl.Schema({"other": pl.Int64})):
        with pytest.raises(SinkError, match="there already"):
            DeltaSink(name="out", table=str(tmp_path / "t"), schema=schema).check_schema(schema)


# -- changelogs --------------------------------------------------------------------------------------------------------


def changes(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"a": pl.Int64, "b": pl.String, "n": pl.Int64, ROW_KIND: pl.Int8}, orient="row")


def test_changes_are_applied_in_their_order(database: Database) -> None:
    schema = pl.Schema({"a": pl.Int64, "b": pl.String, "n": pl.Int64})
    sink = database.sink(schema, "upsert", ("a", "b"))
    first = [(1, "x", 1, 0), (1, None, 2, 0), (None, None, 3, 0), (2, "x", 4, 0), (1, "x", 1, 1), (1, "x", 5, 2)]
    second = [(1, None, 2, 3), (None, None, 3, 1), (None, None, 6, 2), (2, "x", 4, 3), (2, "x", 7, 0), (9, None, 0, 3)]
    third = [(None, None, 6, 3), (1, "x", 5, 1), (1, "x", 8, 2), (1, "x", 8, 3)]
    write(sink, database.folder, changes(first), changes(second))
    assert sorted(database.run("SELECT a, b, n FROM t"), key=str) == [(1, "x", 5), (2, "x", 7), (None, None, 6)]
    write(sink, database.folder / "later", changes(third))
    assert database.run("SELECT a, b, n FROM t") == [(2, "x", 7)]


def test_rows_may_be_nothing_but_keys(database: Database) -> None:
    sink = database.sink(pl.Schema({"a": pl.Int64}), "upsert", ("a",))
    write(sink, database.folder, pl.DataFrame({"a": [1, 1, None]}), pl.DataFrame({"a": [1, None, 2]}))
    assert sorted(database.run("SELECT a FROM t"), key=str) == [(1,), (2,), (None,)]


def test_a_single_column_of_nulls(database: Database) -> None:
    frame = pl.DataFrame({"text": [None, "", "\\N"]}, {"text": pl.String})
    write(database.sink(frame.schema), database.folder, frame)
    assert database.run("SELECT text FROM t") == frame.rows()


def test_rows_of_no_transaction_come_when_they_are_old_enough(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 5.0
    monkeypatch.setattr(tables.time, "monotonic", lambda: now_s)
    writer = database.sink(NUMBERS, roll_age_ms=1000).open(context(database.folder, checkpoints=False))
    writer.write(pl.DataFrame({"k": [1], "text": ["a"]}))
    now_s = 5.9
    writer.flush()
    assert database.run("SELECT * FROM t") == []
    now_s = 6.0
    writer.flush()
    assert database.run("SELECT * FROM t") == [(1, "a")]


# -- others at the same database ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SqliteSink, DuckdbSink])
def test_a_database_that_others_hold_is_waited_for(kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "db")
    sink = kind(name="out", path=path, table="t", schema=NUMBERS, lock_timeout_ms=60_000)
    writer = sink.open(context(tmp_path))
    writer.write(pl.DataFrame({"k": [1], "text": ["a"]}))
    pending = writer.prepare(1)
    held, done = hold(kind, path, monkeypatch)
    committing = threading.Thread(target=writer.commit, args=(pending,))
    committing.start()
    held.wait(60)
    done()
    committing.join(60)
    assert not committing.is_alive()
    assert Database(kind.target.lower(), tmp_path, "").run("SELECT * FROM t") == [(1, "a")]


def hold(kind: type, path: str, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, Callable[[], None]]:
    """Lock a database; return what says that somebody waits for it, and what ends the lock."""
    waited = threading.Event()
    if kind is SqliteSink:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        waited.set()  # SQLite waits within itself, and does not tell

        def release() -> None:
            other.execute("ROLLBACK")
            other.close()

        return waited, release
    connect, held = duckdb.connect, True

    def refuse(at: str) -> Any:
        if held:
            waited.set()
            text = f'IO Error: Could not set lock on file "{at}": Conflicting lock is held in PID 1'
            raise duckdb.IOException(text)
        return connect(at)

    def free() -> None:
        nonlocal held
        held = False

    monkeypatch.setattr(duckdb, "connect", refuse)
    return waited, free


def test_a_database_that_stays_locked_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = SqliteSink(name="out", path=str(tmp_path / "db"), table="t", schema=NUMBERS, lock_timeout_ms=1)
    writer = sink.open(context(tmp_path))
    writer.write(pl.DataFrame({"k": [1], "text": ["a"]}))
    pending = writer.prepare(1)
    _, release = hold(SqliteSink, str(tmp_path / "db"), monkeypatch)
    with pytest.raises(SinkError, match="database is locked"):
        writer.commit(pending)
    release()
    writer.commit(pending)
    assert Database("sqlite", tmp_path, "").run("SELECT * FROM t") == [(1, "a")]

    hold(DuckdbSink, "", monkeypatch)
    with pytest.raises(SinkError, match=r"(?s)PID 1.*read_only=True"):
        DuckdbSink(name="out", path=str(tmp_path / "duck"), table="t", schema=NUMBERS, lock_timeout_ms=1).open(
            context(tmp_path)
        )


def test_delta_looks_again_when_others_were_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = DeltaSink(name="out", table=str(tmp_path / "t"), schema=NUMBERS)
    first, second = (sink.open(context(tmp_path)) for _ in range(2))
    first.write(pl.DataFrame({"k": [1], "text": ["a"]}))
    pending = first.prepare(1)
    opened = DeltaTable.transaction_version

    def late(self: DeltaTable, name: str) -> int | None:
        """Let another process commit the same transaction after this one has looked."""
        version = opened(self, name)
        monkeypatch.setattr(DeltaTable, "transaction_version", opened)
        monkeypatch.setattr(second._staging, "remove", lambda transaction: None)
        second.commit(pending)
        return version

    monkeypatch.setattr(DeltaTable, "transaction_version", late)
    first.commit(pending)
    assert [pl.read_parquet(file).rows() for file in DeltaTable(sink.table).file_uris()] == [[(1, "a")]]


def test_subtasks_of_postgres_upsert_at_once(tmp_path: Path, postgres: str) -> None:
    sink = PostgresSink(name="out", dsn=postgres, table="at once", schema=NUMBERS, mode="upsert", keys=("k",))
    writers = [sink.open(SinkContext(str(tmp_path / "job"), n, 4, 0, "out", checkpoints=True)) for n in range(4)]
    failed: list[BaseException] = []

    def work(writer: Any, order: int) -> None:
        try:
            for checkpoint in range(1, 4):
                writer.write(pl.DataFrame({"k": list(range(200))[::order], "text": ["x"] * 200}))
                writer.commit(writer.prepare(checkpoint))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(writer, (-1) ** n)) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    with psycopg.connect(postgres) as connection:
        assert connection.execute('SELECT count(*) FROM "at once"').fetchone() == (200,)
        marks = connection.execute("SELECT count(*), min(checkpoint) FROM streamlab_commits WHERE sink = 'out'")
        assert marks.fetchone() is not None


# -- secrets and what cannot be reached --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dsn", ["postgresql://me:tiger@127.0.0.1:1/db", "host=127.0.0.1 port=1 dbname=db user=me password=tiger"]
)
def test_passwords_are_not_told(dsn: str) -> None:
    sink = PostgresSink(name="out", dsn=dsn, table="t", schema=NUMBERS)
    with pytest.raises(SinkError, match="connection") as caught:
        sink.check_schema(NUMBERS)
    error: BaseException | None = caught.value
    assert error is not None
    assert error.__suppress_context__
    for text in (str(error), repr(sink), sink.describe()):
        assert "tiger" not in text
    assert "127.0.0.1" in sink.describe()


def test_options_of_storage_are_not_told() -> None:
    options = {"aws_secret_access_key": "tiger-tiger", "region": "eu"}
    sink = DeltaSink(name="out", table="s3://me:burning@bucket/t?x=1", schema=NUMBERS, storage_options=options)
    assert "s3://bucket/t" in sink.describe()
    for text in (repr(sink), sink.describe()):
        assert "tiger" not in text
        assert "burning" not in text
    assert redacted("no tiger-tiger in eu", ["tiger-tiger"]) == "no *** in eu"


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(SinkError, match=r"streamlab\[duckdb\]"):
        DuckdbSink(name="out", path=str(tmp_path / "db"), table="t", schema=NUMBERS).check_schema(NUMBERS)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="which is a folder"):
        SqliteSink(name="out", path=str(tmp_path), table="t", schema=NUMBERS)
    (tmp_path / "db").write_text("no database, but a text that is long enough to be taken for one" * 20)
    for kind in (SqliteSink, DuckdbSink):
        with pytest.raises(SinkError, match="not a"):
            kind(name="out", path=str(tmp_path / "db"), table="t", schema=NUMBERS).check_schema(NUMBERS)


def test_what_is_promised() -> None:
    append = SqliteSink(name="out", path="/tmp/db", table="t", schema=NUMBERS)
    upsert = SqliteSink(name="out", path="/tmp/db", table="t", schema=NUMBERS, mode="upsert", keys=("k",))
    assert append.promise == "exactly-once; at-least-once without checkpoints"
    assert upsert.promise == "effectively-once"
    assert (append.accepts_updates, upsert.accepts_updates) == (False, True)
    assert upsert.describe() == "out: table 't' of /tmp/db, upsert by k"
