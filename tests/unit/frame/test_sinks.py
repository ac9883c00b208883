"""Outputs that write: the sink that each makes, and the streams that it refuses."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.sinks.batches import BatchesSink
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.files import CsvSink, NdjsonSink, ParquetSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import TableSink
from streamlab.core.errors import OptionError, PlanError, SinkError
from streamlab.frame.runner import RunOptions
from streamlab.frame.stream_frame import StreamFrame

FOLDER_SINKS = {"sink_parquet": ParquetSink, "sink_csv": CsvSink, "sink_ndjson": NdjsonSink}


@pytest.mark.parametrize(("method", "kind"), FOLDER_SINKS.items())
def test_folders(flights: StreamFrame, runner, tmp_path: Path, method: str, kind: type) -> None:
    plain = flights.drop("tags", "place")

    job = getattr(plain, method)(tmp_path / "out", name="files", parallelism=2, detach=True, roll_rows=7, batch_rows=9)

    assert job == "the job"
    name, plan, options, sink = runner.calls[0]
    assert (name, plan) == ("run", plain.plan)
    assert options == RunOptions("files", 2, "auto", True, 10_000, more={"batch_rows": 9})
    assert isinstance(sink, kind)
    assert (sink.name, sink.folder, sink.roll_rows) == (method, str(tmp_path / "out"), 7)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", FOLDER_SINKS)
def test_folders_take_no_updates(flights: StreamFrame, runner, tmp_path: Path, method: str) -> None:
    with pytest.raises(PlanError, match=f"{method}: needs an append-only stream") as caught:
        getattr(flights.group_by("carrier").len(), method)(tmp_path)

    assert "'group_by'" in str(caught.value)
    assert not runner.calls


@pytest.mark.parametrize("folder", ["", 3, None])
def test_folders_need_a_path(flights: StreamFrame, folder) -> None:
    with pytest.raises(OptionError, match="sink_parquet: needs a folder"):
        flights.sink_parquet(folder)


def test_files_must_hold_the_columns(flights: StreamFrame, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"sink_csv.*'tags'"):
        flights.sink_csv(tmp_path)


def test_batches(flights: StreamFrame, runner) -> None:
    flights.group_by("carrier").agg(pl.len()).sink_batches(print, name="show")

    _, _, options, sink = runner.calls[0]
    assert options.name == "show"
    assert isinstance(sink, BatchesSink)
    assert sink.function is print


def test_batches_need_a_function(flights: StreamFrame) -> None:
    with pytest.raises(OptionError, match="sink_batches: needs a function, got a str"):
        flights.sink_batches("print")


def test_any_sink(flights: StreamFrame, runner, tmp_path: Path) -> None:
    sink = ParquetSink("mine", str(tmp_path))

    flights.write_to(sink)

    assert runner.calls[0][3] is sink


@pytest.fixture
def plain(flights: StreamFrame) -> StreamFrame:
    return flights.drop("tags", "place")


def made(runner) -> TableSink:
    return runner.calls[-1][3]


def test_tables(plain: StreamFrame, runner, tmp_path: Path) -> None:
    plain.sink_sqlite(tmp_path / "db", "flights", name="mine", parallelism=2, batch_rows=9)

    _, plan, options, sink = runner.calls[0]
    assert plan == plain.plan
    assert options == RunOptions("mine", 2, "auto", checkpoint_every_ms=10_000, more={"batch_rows": 9})
    assert sink == SqliteSink(name="sink_sqlite", path=str(tmp_path / "db"), table="flights", schema=plain.schema)
    assert list(tmp_path.iterdir()) == []

    plain.sink_duckdb(tmp_path / "db", "flights")
    assert made(runner) == DuckdbSink(
        name="sink_duckdb", path=str(tmp_path / "db"), table="flights", schema=plain.schema
    )
    plain.sink_delta(tmp_path / "delta")
    assert made(runner) == DeltaSink(name="sink_delta", table=str(tmp_path / "delta"), schema=plain.schema)


def test_upserts_take_the_keys_of_the_result(plain: StreamFrame, runner, tmp_path: Path) -> None:
    counts = plain.group_by("carrier").len()

    counts.rename({"carrier": "who"}).sink_sqlite(tmp_path / "db", "t", mode="upsert")
    assert made(runner).keys == ("who",)
    counts.sink_duckdb(tmp_path / "db", "t", mode="upsert", keys="carrier")
    assert made(runner).keys == ("carrier",)
    plain.sink_delta(tmp_path / "delta", mode="upsert", keys=["carrier", "n"])
    assert made(runner).keys == ("carrier", "n")


def test_upserts_need_keys(plain: StreamFrame, runner, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="sink_sqlite: needs the columns that a row is known by"):
        plain.sink_sqlite(tmp_path / "db", "t", mode="upsert")
    with pytest.raises(PlanError, match=r"keys=\['carrier'\], by which 'group_by'"):
        plain.group_by("carrier").len().sink_sqlite(tmp_path / "db", "t", mode="upsert", keys=["len"])
    with pytest.raises(OptionError, match="keys among the columns"):
        plain.sink_sqlite(tmp_path / "db", "t", mode="upsert", keys="nothing")
    with pytest.raises(OptionError, match="needs no keys to append"):
        plain.sink_sqlite(tmp_path / "db", "t", keys="carrier")
    assert not runner.calls


def test_tables_that_are_appended_to_take_no_updates(plain: StreamFrame, runner, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"(?s)append-only stream.*'group_by'.*mode='upsert'"):
        plain.group_by("carrier").len().sink_sqlite(tmp_path / "db", "t")
    assert not runner.calls


def test_tables_must_hold_the_columns(flights: StreamFrame, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"sink_sqlite.*'tags'"):
        flights.sink_sqlite(tmp_path / "db", "t")


@pytest.mark.parametrize(("path", "table"), [("", "t"), (3, "t"), ("db", ""), ("db", 3), ("/nowhere/db", "t")])
def test_databases_need_a_path_and_a_table(plain: StreamFrame, path, table) -> None:
    with pytest.raises(OptionError, match="sink_sqlite: needs"):
        plain.sink_sqlite(path, table)


def test_a_connection_string_is_not_repeated(plain: StreamFrame) -> None:
    with pytest.raises(OptionError, match="a connection string of PostgreSQL") as caught:
        plain.sink_postgres("postgresql//me:tiger@host/db", "t")
    assert "tiger" not in str(caught.value)
    with pytest.raises(OptionError, match="a connection string, got a int"):
        plain.sink_postgres(5, "t")


def test_any_sink_must_hold_the_columns(flights: StreamFrame, runner, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="'tags'"):
        flights.write_to(CsvSink("mine", str(tmp_path)))
    assert not runner.calls
