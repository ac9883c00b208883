"""All processes of a job die between a checkpoint and its commit; another job that starts from it loses nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from patience import eventually

import streamlab as sl
from streamlab.job.job import Job
from streamlab.runtime.client import client
from streamlab.runtime.process.fault_injection import VARIABLE, PlannedFault

ROWS = 6_000


def numbers() -> sl.StreamFrame:
    return sl.generate(
        lambda start, n: pl.DataFrame({"n": pl.int_range(start, start + n, eager=True)}),
        rows_per_second=5_000,
        limit=ROWS,
        name="numbers",
    )


def into_files(folder: Path, **options: object) -> Job:
    return numbers().sink_parquet(folder / "out", parallelism=2, **options)


def rows_of_files(folder: Path) -> list[int]:
    return [n for path in (folder / "out").glob("part-*.parquet") for n in pl.read_parquet(path)["n"]]


def into_sqlite(folder: Path, **options: object) -> Job:
    return numbers().sink_sqlite(folder / "out", "t", parallelism=2, **options)


def rows_of_sqlite(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "out")) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM t")]


@pytest.mark.parametrize(("write", "read"), [(into_files, rows_of_files), (into_sqlite, rows_of_sqlite)])
def test_rows_of_a_checkpoint_that_was_never_committed(write, read, tmp_path, monkeypatch):
    faults = tmp_path / "faults"
    faults.mkdir()
    fault = PlannedFault("worker", "sink.commit", "hang", 2)
    fault.plant(faults)
    monkeypatch.setenv(VARIABLE, str(faults))
    first = write(tmp_path, name="first", checkpoint_every="100ms")
    eventually(lambda: fault.fired(faults) is not None, "a commit that hangs")
    processes = first._handle.folder.read_processes()
    assert processes is not None
    # At one moment: a coordinator whose guardian dies first would start another one, and so would this client.
    monkeypatch.setattr(client, "_MOST_HEIRS", 0)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes.all:
            os.kill(process.pid, number)
    eventually(lambda: first.status == "failed", "the end of the first job")
    monkeypatch.delenv(VARIABLE)

    before = len(read(tmp_path))
    second = write(tmp_path, name="second", checkpoint_every="100ms", from_savepoint=first.checkpoints[-1])
    assert before < ROWS
    assert second.wait(100) == "finished"
    assert sorted(read(tmp_path)) == list(range(ROWS))
