"""The duality law in real processes: what the simulation cannot see (pickling, sockets, files) is in here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import streamlab as sl
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.oracle import oracle
from streamlab.testing.simulation import shuffled

ROWS = 20_000
BOUND_US = 5_000_000
COUNTS = pl.len().alias("rows"), pl.col("n").sum(), pl.col("n").median().alias("middle")
QUERIES = {
    "rows": lambda f: f.filter(pl.col("n") > 10).with_columns(double=pl.col("n") * 2),
    "unbounded": lambda f: f.group_by("key").agg(*COUNTS).filter(pl.col("rows") > 3),
    "hopping": lambda f: f.group_by_dynamic("at", every="20s", period="1m", group_by="key").agg(*COUNTS[:2]),
    "session": lambda f: f.group_by_session("at", gap="2s", group_by="key").agg(*COUNTS),
}


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    random = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "at": np.sort(random.integers(-300_000_000, 300_000_000, ROWS)),
            "key": random.integers(0, 40, ROWS),
            "n": random.integers(0, 1000, ROWS),
        }
    )
    key = pl.when(pl.col("key") > 0).then(pl.col("key").cast(pl.String))
    return shuffled(frame.with_columns(pl.col("at").cast(pl.Datetime("us")), key), "at", BOUND_US, seed=1)


@pytest.fixture(scope="module")
def folder(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("parts")
    for number in range(5):
        part = rows.slice(number * ROWS // 5, ROWS // 5)
        part.write_parquet(target / f"part-{number}.parquet", row_group_size=1000)
    return target


@pytest.mark.parametrize("name", QUERIES)
def test_processes_give_what_polars_gives(name: str, rows: pl.DataFrame, folder: Path) -> None:
    query = QUERIES[name](sl.scan_parquet(folder, event_time="at", watermark="5s"))
    assert_same_rows(query.collect(parallelism=2), oracle(query, rows))


def test_batches_of_frames_give_what_polars_gives(rows: pl.DataFrame) -> None:
    frames = [rows.slice(at, 1500) for at in range(0, ROWS, 1500)]
    query = QUERIES["session"](sl.from_frame(frames, event_time="at", watermark="5s"))
    assert_same_rows(query.collect(parallelism=3), oracle(query, rows))
