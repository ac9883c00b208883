"""Jobs to be broken: queries over a source whose rows are known, and what the sink must hold in the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
from followed import Feeder, following
from trickle import Trickle, all_rows

import streamlab as sl
from streamlab.connectors.contracts.source import Timing
from streamlab.core.event_time.time import Duration
from streamlab.job.sources import stream

NAMES = pl.DataFrame({"k": list(range(7)), "name": [f"key {k}" for k in range(7)]})
Rows = list[tuple[Any, ...]]


def trickling(folder: Path, *, live: bool = False) -> sl.StreamFrame:
    """Return the stream; the file ``gate`` in the folder opens it."""
    timing = Timing(event_time="t", watermark=Duration.parse("1s"))
    return stream(Trickle(gate=str(folder / "gate"), live=live, timing=timing))


@dataclass(frozen=True)
class Broken:
    """A job, and what its sink must hold in the end."""

    job: sl.Job
    read: Callable[[], Rows]
    expected: Callable[[], Rows]
    out: Path | None = None
    """A folder that the sink writes files to."""
    feeder: Feeder | None = None
    """What gives rows to a job that has no end: it is stopped when it has read them all."""


Topology = Callable[[Path, str, dict[str, Any]], Broken]
"""Starts a job in a folder, with the connection string of a PostgreSQL server, and options."""

AGGREGATES = [pl.len().cast(pl.Int64).alias("n"), pl.col("v").sum()]


def files(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Stateless, into Parquet files."""
    out = folder / "out"
    query = trickling(folder).filter(pl.col("v") % 3 != 0).select("v", twice=pl.col("v") * 2)
    job = query.sink_parquet(out, roll_rows=700, **options)
    kept = all_rows().filter(pl.col("v") % 3 != 0).select("v", twice=pl.col("v") * 2)
    return Broken(job, lambda: pl.read_parquet(out / "part-*.parquet").rows(), kept.rows, out)


def windows_to_sqlite(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Windows by key, across an exchange, appended to a table of SQLite."""
    return _windows_to_sqlite(folder, trickling(folder), options)


def _windows_to_sqlite(folder: Path, rows: sl.StreamFrame, options: dict[str, Any]) -> Broken:
    path = folder / "table.db"
    query = rows.group_by_dynamic("t", every="1s", group_by="k").agg(AGGREGATES).named("windows")
    job = query.select("k", "n", "v", second=pl.col("t").cast(pl.Int64) // 1_000_000).sink_sqlite(path, "t", **options)

    def expected() -> Rows:
        second = (pl.col("t").cast(pl.Int64).floordiv(1_000_000)).alias("second")
        return all_rows().group_by("k", second).agg(AGGREGATES).select("k", "n", "v", "second").rows()

    return Broken(job, lambda: _sqlite(path, "SELECT k, n, v, second FROM t"), expected)


def groups_to_postgres(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Totals by key, which change for ever, upserted into PostgreSQL."""
    table = f"groups {folder.name}"
    query = trickling(folder).group_by("k").agg(AGGREGATES).named("groups")
    job = query.sink_postgres(dsn, table, mode="upsert", **options)
    expected = all_rows().group_by("k").agg(AGGREGATES)
    return Broken(job, lambda: _postgres(dsn, table), expected.rows)


def rows_to_postgres(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Windows by key, appended to a table of PostgreSQL by two writers."""
    table = f"rows {folder.name}"
    query = trickling(folder).group_by_dynamic("t", every="1s", group_by="k").agg(AGGREGATES).named("windows")
    second = (pl.col("t").cast(pl.Int64) // 1_000_000).alias("second")
    job = query.select("k", second, "n", "v").sink_postgres(dsn, table, **options)
    floor = (pl.col("t").cast(pl.Int64).floordiv(1_000_000)).alias("second")
    expected = all_rows().group_by("k", floor).agg(AGGREGATES)
    return Broken(job, lambda: _postgres(dsn, table), expected.rows)


def pairs_to_sqlite(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Totals of a full join of two streams, whose rows are alone until they are met, upserted into SQLite."""
    path, rows = folder / "table.db", trickling(folder)
    query = _paired(rows.filter(pl.col("v") % 2 == 0), rows.filter(pl.col("v") % 3 > 0)).named("pairs")
    job = query.sink_sqlite(path, "t", mode="upsert", **options)
    frame = all_rows()
    expected = _paired(frame.filter(pl.col("v") % 2 == 0), frame.filter(pl.col("v") % 3 > 0))
    return Broken(job, lambda: _sqlite(path, "SELECT k, n, v, other FROM t"), expected.rows)


def _paired(left: Any, right: Any) -> Any:
    """Return how many even and odd neighbours have met or not, by the key of either, and their sums."""
    pair = pl.col("v") // 2
    both = left.join(right, left_on=pair, right_on=pair, how="full")
    key = pl.coalesce("k", "k_right").alias("k")
    other = pl.col("v_right").sum().alias("other")
    return both.group_by(key).agg(pl.len().cast(pl.Int64).alias("n"), pl.col("v").sum(), other)


def recorded_to_files(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Record a live source first, into files of JSON lines."""
    out = folder / "out"
    job = trickling(folder, live=True).select("k", "v").sink_ndjson(out, roll_rows=700, **options)

    def read() -> Rows:
        return [row for path in out.glob("part-*") for row in pl.read_ndjson(path).select("k", "v").rows()]

    return Broken(job, read, all_rows().select("k", "v").rows, out)


def joined_to_duckdb(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Count by a name that a table has, upserted into DuckDB."""
    path = folder / "table.duckdb"
    query = trickling(folder).join(NAMES, on="k").group_by("name").agg(AGGREGATES).named("names")
    job = query.sink_duckdb(path, "t", mode="upsert", **options)
    expected = all_rows().join(NAMES, on="k").group_by("name").agg(AGGREGATES)

    def read() -> Rows:
        with closing(duckdb.connect(str(path))) as connection:
            return connection.execute("SELECT name, n, v FROM t").fetchall()

    return Broken(job, read, expected.rows)


def groups_to_results(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Totals by key in the job's own result table."""
    job = trickling(folder).group_by("k").agg(AGGREGATES).named("groups").start(**options)
    return Broken(
        job, lambda: job.results().select("k", "n", "v").rows(), all_rows().group_by("k").agg(AGGREGATES).rows
    )


def followed_rows(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Follow a folder, stateless, into Parquet files."""
    return _followed_rows(folder, options, by_several=False)


def rows_followed_by_several(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Follow a folder whose files several subtasks share."""
    return _followed_rows(folder, options, by_several=True)


def _followed_rows(folder: Path, options: dict[str, Any], *, by_several: bool) -> Broken:
    out, feeder = folder / "out", Feeder(folder / "in")
    # About as fast as they come, so that whatever dies some file is half read.
    source = following(folder / "in", by_several=by_several, pace="realtime")
    query = stream(source).select("v", twice=pl.col("v") * 2)
    job = query.sink_parquet(out, roll_rows=700, **options)
    expected = all_rows().select("v", twice=pl.col("v") * 2)
    return Broken(job, lambda: pl.read_parquet(out / "part-*.parquet").rows(), expected.rows, out, feeder)


def followed_windows(folder: Path, dsn: str, options: dict[str, Any]) -> Broken:
    """Follow a folder, in windows by key, into a table of SQLite."""
    feeder = Feeder(folder / "in")
    return replace(_windows_to_sqlite(folder, stream(following(folder / "in")), options), feeder=feeder)


TOPOLOGIES: dict[str, Topology] = {
    "files": files,
    "windows-sqlite": windows_to_sqlite,
    "groups-postgres": groups_to_postgres,
    "recorded-files": recorded_to_files,
    "join-duckdb": joined_to_duckdb,
    "groups-results": groups_to_results,
    "pairs-sqlite": pairs_to_sqlite,
}


def _sqlite(path: Path, sql: str) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def _postgres(dsn: str, table: str) -> Rows:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f'SELECT * FROM "{table}"').fetchall()
