"""Jobs that write to tables while their processes are killed: every row is there, once."""

from __future__ import annotations

import os
import signal
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
from patience import eventually

import streamlab as sl
from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import TableSink
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.job import Job
from streamlab.plan import nodes

OPTIONS = {"parallelism": 2, "checkpoint_every_ms": 100, "restart_delay_ms": 50}
TOTALS = (pl.len().alias("n"), pl.col("v").sum())
KILLS = ("worker", "coordinator", "worker")


def counted(start: int, n: int) -> pl.DataFrame:
    number = pl.int_range(start, start + n, eager=True)
    return pl.DataFrame({"k": number % 7, "v": number})


def stream() -> sl.StreamFrame:
    """Return rows without an end: however slow the machine is, there is something to kill."""
    return sl.generate(counted, rows_per_second=5_000, name="numbers")


def graph_of(frame: sl.StreamFrame, sink: TableSink) -> JobGraph:
    plan = frame._plan
    return lower(nodes.Write(input=plan, sink=sink, step=sink.name, schema=plan.schema), 2)


def kill(job: Job, who: str) -> None:
    found = job._handle.folder.read_processes()
    assert found is not None
    os.kill((found.workers[0] if who == "worker" else found.coordinator).pid, signal.SIGKILL)


def is_under_way(job: Job, attempt: int) -> bool:
    """Whether an attempt, or a later one, runs and has taken a checkpoint."""
    report = job.report()
    complete = any(c.state == "complete" and c.attempt == report.attempt for c in report.checkpoints)
    return report.attempt >= attempt and report.state == "running" and complete


def run_and_kill(job: Job) -> int:
    """Kill the job's processes, let it end, and return how many rows it has read."""
    for attempt, who in enumerate(KILLS, start=1):
        eventually(lambda: is_under_way(job, attempt), "a checkpoint")  # noqa: B023
        kill(job, who)
    eventually(lambda: is_under_way(job, len(KILLS) + 1), "a checkpoint")
    job.stop()
    assert job.wait(60) in {"finished", "stopped"}
    assert list(Path(job._handle.folder.path).glob("staged/*/*.arrow")) == []
    return job.report().rows_in


def place_of(
    kind: str, folder: Path, dsn: Callable[[], str]
) -> tuple[type[TableSink], dict[str, Any], Callable[[], list]]:
    """Return a sink's class, where it is to write, and what reads that."""
    path = folder / kind
    if kind == "sqlite":
        return SqliteSink, {"path": str(path), "table": "t"}, lambda: sqlite_rows(path)
    if kind == "duckdb":
        return DuckdbSink, {"path": str(path), "table": "t"}, lambda: duckdb_rows(path)
    if kind == "delta":
        return DeltaSink, {"table": str(path)}, lambda: delta_rows(path)
    table = f"killed {folder.name}"
    return PostgresSink, {"dsn": dsn(), "table": table}, lambda: postgres_rows(dsn(), table)


def sqlite_rows(path: Path) -> list:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM t").fetchall()


def duckdb_rows(path: Path) -> list:
    with closing(duckdb.connect(str(path))) as connection:
        return connection.execute("SELECT * FROM t").fetchall()


def delta_rows(path: Path) -> list:
    return [row for file in DeltaTable(str(path)).file_uris() for row in pl.read_parquet(file).rows()]


def postgres_rows(dsn: str, table: str) -> list:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f'SELECT * FROM "{table}"').fetchall()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("sqlite", "append"),
        ("postgres", "upsert"),
        pytest.param("sqlite", "upsert", marks=SLOW),
        pytest.param("duckdb", "append", marks=SLOW),
        pytest.param("duckdb", "upsert", marks=SLOW),
        pytest.param("postgres", "append", marks=SLOW),
        pytest.param("delta", "append", marks=SLOW),
        pytest.param("delta", "upsert", marks=SLOW),
    ],
)
def test_killed_again_and_again_no_row_is_lost_or_doubled(start, request, tmp_path, kind, mode):
    sink, place, read = place_of(kind, tmp_path, lambda: request.getfixturevalue("postgres"))
    # Groups come and go: a filter lets through what it drops after the next update.
    groups = stream().group_by("k", odd=pl.col("v") % 2).agg(TOTALS).filter(pl.col("n") % 3 != 0)
    rows = stream() if mode == "append" else groups
    keys = ("k", "odd") if mode == "upsert" else ()
    job = start(graph_of(rows, sink(name="out", schema=rows._plan.schema, mode=mode, keys=keys, **place)), **OPTIONS)
    everything = counted(0, run_and_kill(job))
    if mode == "upsert":
        everything = everything.group_by("k", odd=pl.col("v") % 2).agg(TOTALS).filter(pl.col("n") % 3 != 0)
    assert sorted(read()) == sorted(everything.rows())
