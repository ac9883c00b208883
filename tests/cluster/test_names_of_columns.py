"""Jobs over columns whose names streamlab's own columns once had: files, tables, late rows, checkpoints, replays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from patience import eventually
from polars.testing import assert_frame_equal

import streamlab as sl
from streamlab.core.errors import StepFailed

TOTAL = 3_000
NUMBER = pl.int_range(TOTAL, eager=True)
# Every fiftieth row is late for its window.
ROWS = pl.DataFrame(
    {
        "__start": (NUMBER * 100_000 - NUMBER % 50 // 49 * 40_000_000).cast(pl.Datetime("us")),
        "__key": NUMBER // 10 % 7,
        "__deleted": (NUMBER % 3 == 0),
        "__p0": NUMBER,
        "__late_outcome": (NUMBER % 2).cast(pl.String),
    }
)
OPTIONS = {"parallelism": 2, "checkpoint_every": "1h", "checkpoint_keep": 9}


def windows(stream: sl.StreamFrame) -> sl.StreamFrame:
    grouped = stream.group_by_dynamic("__start", every="10s", group_by="__key").having(pl.len() > 0)
    return grouped.agg(pl.len().alias("__count"), pl.col("__p0").sum(), pl.col("__deleted").any())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_windows_of_a_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{kind}"
    getattr(ROWS, f"write_{kind}")(path)
    scan = sl.scan_csv if kind == "csv" else sl.scan_parquet
    job = windows(scan(path, event_time="__start", watermark="0s", pace="100x")).start(**OPTIONS)
    eventually(lambda: job.report().rows_in > TOTAL // 10, "some rows")
    taken = job.checkpoint()
    job.set_pace("max")
    job.wait(60)
    late, results = job.late_rows(), job.results()
    assert late.height == TOTAL // 50
    whole = ROWS.join(late, on="__p0", how="anti", maintain_order="left")
    expected = windows(sl.from_frame(whole, event_time="__start", watermark="1m")).collect()
    assert_frame_equal(results, expected, check_row_order=False)
    noted = job.lateness()
    assert noted["outcome"].unique().to_list() == ["set aside"]
    assert_frame_equal(noted.select(ROWS.columns), late, check_row_order=False)
    state = taken.state("10 s windows by __key")
    assert {"__key", "window_start"} <= set(state.columns)
    assert not [name for name in state.columns if name.startswith("__sl_")]
    again = job.replay(taken.id)
    again.wait(60)
    assert again.compare(job).is_empty()
    assert_frame_equal(again.late_rows(), late, check_row_order=False)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "delta"])
def test_a_table_that_is_upserted(kind: str, tmp_path: Path) -> None:
    """Rows are taken back, so the table is told which keys go: beside a column that is called so itself."""
    totals = sl.from_frame(ROWS).group_by("__key").agg(pl.col("__p0").max(), pl.col("__deleted").last())
    stream = totals.filter(pl.col("__p0") < TOTAL - 20)
    options = {"mode": "upsert", "keys": ["__key"], "parallelism": 1, "batch_rows": 100}
    path = tmp_path / "there"
    match kind:
        case "sqlite":
            stream.sink_sqlite(path, "t", **options).wait(60)
            with closing(sqlite3.connect(path)) as connection:
                found = connection.execute('SELECT "__key", "__p0", "__deleted" FROM t').fetchall()
        case "duckdb":
            stream.sink_duckdb(path, "t", **options).wait(60)
            with closing(duckdb.connect(str(path))) as connection:
                found = connection.execute('SELECT "__key", "__p0", "__deleted" FROM t').fetchall()
        case _:
            stream.sink_delta(path, **options).wait(60)
            frames = [pl.read_parquet(file) for file in DeltaTable(str(path)).file_uris()]
            found = pl.concat(frames).select("__key", "__p0", "__deleted").rows()
    expected = ROWS.group_by("__key").agg(pl.col("__p0").max(), pl.col("__deleted").last())
    expected = expected.filter(pl.col("__p0") < TOTAL - 20)
    assert 0 < expected.height < 7
    assert sorted(found) == sorted(expected.rows())


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson"])
def test_files_that_are_written(kind: str, tmp_path: Path) -> None:
    getattr(sl.from_frame(ROWS), f"sink_{kind}")(tmp_path / "out", parallelism=1).wait(60)
    parts = sorted((tmp_path / "out").glob("part-*"))
    found = pl.concat([getattr(pl, f"read_{kind}")(part) for part in parts])
    assert found.columns == ROWS.columns
    assert sorted(found["__p0"]) == list(range(TOTAL))


def test_a_step_that_fails_shows_names_of_users_only() -> None:
    def fails(value: int) -> int:
        text = "no such row"
        raise ValueError(text)

    stream = sl.from_frame(ROWS, event_time="__start", watermark="1m")
    summed = pl.col("__p0").map_elements(fails, return_dtype=pl.Int64).sum()
    query = stream.group_by_dynamic("__start", every="10s", group_by="__key").having(pl.len() > 0).agg(summed)
    with pytest.raises(StepFailed) as failed:
        query.collect()
    shown = f"{failed.value}{failed.value.sample}"
    assert "__sl_" not in shown
    assert "__key" in shown
