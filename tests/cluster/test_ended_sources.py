"""Going on from a checkpoint at which sources had ended: what would not be read is refused, not left out."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from patience import eventually

import streamlab as sl
from streamlab.core.errors import CheckpointError


def write(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    at = pl.Series("t", range(0, 40_000_000, 1_000_000)).cast(pl.Datetime("us"))
    pl.DataFrame({"t": at, "v": range(40)}).write_parquet(folder / f"{name}.parquet")


def windows(folder: Path) -> sl.StreamFrame:
    stream = sl.scan_parquet(folder, event_time="t", watermark="0s")
    return stream.group_by_dynamic("t", every="10s").agg(pl.len().alias("n")).named("per moment")


def test_files_that_come_after_the_end_are_not_left_out_silently(tmp_path):
    write(tmp_path / "in", "first")
    job = windows(tmp_path / "in").start(parallelism=2)
    assert job.wait(60) == "finished"
    last = job.checkpoints[-1]
    # Nothing more to read: there is nothing to do.
    again = windows(tmp_path / "in").start(parallelism=1, from_savepoint=last)
    assert again.wait(60) == "finished"
    assert again.results().height == 0
    for name in ("second", "third", "fourth", "fifth"):
        write(tmp_path / "in", name)
    with pytest.raises(CheckpointError, match=r"had come to its end(?s:.)*fifth\.parquet.* and 1 more"):
        windows(tmp_path / "in").start(parallelism=1, from_savepoint=last)


def test_a_source_that_was_drained_does_not_go_on(tmp_path):
    stream = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=1_000)
    job = stream.start(parallelism=1)
    eventually(lambda: job.report().rows_in > 10, "rows")
    before = job.checkpoint()
    assert job.stop(drain=True) == "stopped"
    with pytest.raises(CheckpointError, match=r"stopped and drained(?s:.)*stop\(\) without drain=True"):
        stream.start(parallelism=1, from_savepoint=job.checkpoints[-1])
    on = stream.start(parallelism=1, from_savepoint=before)
    eventually(lambda: on.report().rows_in > 0, "rows go on")
    on.cancel()
