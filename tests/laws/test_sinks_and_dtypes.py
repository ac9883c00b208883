"""Every sink with every dtype: one that it cannot hold is refused at the call, any other is written and read."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sink_kit import TABLES

from streamlab.connectors.contracts.sink import Sink, SinkContext
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.files import CsvSink, NdjsonSink, ParquetSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.core.errors import SinkError

DAY = dt.datetime.fromisoformat("2024-01-02 03:04:05")
SECOND = dt.timedelta(seconds=1)
VALUES: list[tuple[Any, Any]] = [
    (pl.Boolean(), True),
    *((dtype(), 1) for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128)),
    *((dtype(), 1) for dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128)),
    *((dtype(), 1.5) for dtype in (pl.Float16, pl.Float32, pl.Float64)),
    (pl.Decimal(38, 10), Decimal("1.5")),
    (pl.Decimal(9, 2), Decimal("1.5")),
    (pl.String(), 'x,"\n'),
    (pl.Binary(), b"\xff\0"),
    (pl.Categorical(), "a"),
    (pl.Enum(["a", "b"]), "a"),
    (pl.Date(), DAY.date()),
    (pl.Time(), DAY.time()),
    *((pl.Datetime(unit), DAY) for unit in ("ms", "us", "ns")),
    *((pl.Datetime(unit, "Europe/Berlin"), DAY) for unit in ("ms", "us", "ns")),
    *((pl.Duration(unit), SECOND) for unit in ("ms", "us", "ns")),
    (pl.Null(), None),
    (pl.List(pl.Int64), [1]),
    (pl.List(pl.Null), [None]),
    (pl.List(pl.Binary), [b"x"]),
    (pl.List(pl.Duration("us")), [SECOND]),
    (pl.List(pl.Decimal(9, 2)), [Decimal("1.5")]),
    (pl.List(pl.Categorical), ["a"]),
    (pl.List(pl.Struct({})), [{}]),
    (pl.Array(pl.Int64, 2), [1, 2]),
    (pl.Array(pl.Binary, 1), [b"x"]),
    (pl.Struct({}), {}),
    (pl.Struct({"a": pl.Int64}), {"a": 1}),
    (pl.Struct({"a": pl.List(pl.Struct({"b": pl.Time}))}), {"a": [{"b": DAY.time()}]}),
    (pl.Struct({"a": pl.Binary}), {"a": b"x"}),
    (pl.Object(), object()),
]
SINKS = ("parquet", "csv", "ndjson", *TABLES)


def sink_of(kind: str, folder: Path, schema: pl.Schema, dsn: Callable[[], str]) -> Sink:
    if kind in {"parquet", "csv", "ndjson"}:
        return {"parquet": ParquetSink, "csv": CsvSink, "ndjson": NdjsonSink}[kind]("out", str(folder / "out"))
    given: dict[str, Any] = {"name": "out", "schema": schema}
    if kind == "delta":
        return DeltaSink(table=str(folder / "out"), **given)
    if kind == "postgres":
        return PostgresSink(dsn=dsn(), table=f"t{abs(hash(folder))}", **given)
    return {"sqlite": SqliteSink, "duckdb": DuckdbSink}[kind](path=str(folder / "out"), table="t", **given)


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize(("dtype", "value"), VALUES, ids=[str(dtype) for dtype, _ in VALUES])
def test_a_dtype_is_refused_at_the_call_or_written(
    kind: str, dtype: pl.DataType, value: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows = pl.DataFrame({"k": [1, 2], "c": pl.Series([value, None], dtype=dtype)})
    sink = sink_of(kind, tmp_path, rows.schema, lambda: request.getfixturevalue("postgres"))
    try:
        sink.check_schema(rows.schema)
    except SinkError as error:
        assert "column 'c'" in str(error)  # noqa: PT017 - either this, or what follows
        return
    writer = sink.open(SinkContext(str(tmp_path), 0, 1, 1, "out", checkpoints=True))
    writer.write(rows)
    pending = writer.prepare(1)
    writer.commit(pending)
    writer.close()


@pytest.mark.parametrize(("kind", "nulls"), [("ndjson", 3), ("sqlite", 1), ("parquet", 0), ("csv", 0), ("duckdb", 0)])
def test_values_that_become_null_are_counted(kind: str, nulls: int, tmp_path: Path) -> None:
    rows = pl.DataFrame({"k": [1, 2, 3, 4], "c": [float("nan"), float("inf"), float("-inf"), 1.5]})
    writer = sink_of(kind, tmp_path, rows.schema, str).open(SinkContext(str(tmp_path), 0, 1, 1, "out"))
    writer.write(rows)
    assert writer.values_nulled == nulls
    writer.commit(writer.prepare(1))
    writer.close()
    if kind == "ndjson":
        [path] = (tmp_path / "out").glob("*.ndjson")
        assert pl.read_ndjson(path)["c"].null_count() == nulls
    if kind == "sqlite":
        with closing(sqlite3.connect(tmp_path / "out")) as database:
            assert database.execute("SELECT count(*) FROM t WHERE c IS NULL").fetchone() == (nulls,)
