"""A paced source that two subtasks read, and rows that are late: a replay at full speed drops the same ones."""

from __future__ import annotations

import polars as pl
import pytest
from patience import PATIENCE_S

import streamlab as sl

FILES, ROWS, KEYS = 4, 4_000, 5


@pytest.fixture
def stream(tmp_path):
    """Return windows over files whose times overlap, far out of order for their watermark, read at a pace."""
    for at in range(FILES):
        n = pl.int_range(ROWS, eager=True)
        jitter = (n * 2_654_435_761 % 9_000).cast(pl.Int64)
        times = ((n * 10 + at * ROWS * 5) + jitter).cast(pl.Datetime("ms"))
        frame = pl.DataFrame({"at": times, "key": n * 7 % KEYS, "n": n + at * ROWS})
        frame.write_parquet(tmp_path / f"{at}.parquet", row_group_size=200)
    read = sl.scan_parquet(f"{tmp_path}/*.parquet", event_time="at", watermark="500ms", pace="60x")
    return read.group_by_dynamic("at", every="2s", group_by="key").agg(
        pl.len().alias("rows"), pl.col("n").sum(), pl.col("n").first().alias("first")
    )


def test_late_rows_and_first_rows_are_the_same(stream):
    job = stream.start("job", parallelism=2, checkpoint_every="100ms", checkpoint_keep=200)
    assert job.wait(PATIENCE_S) == "finished"
    late = job.late_rows()
    assert late.height > FILES * ROWS / 20
    again = job.replay(1)
    assert again.wait(PATIENCE_S) == "finished"
    assert again.compare(job).height == 0
    assert again.late_rows().sort("n").equals(late.sort("n"))
