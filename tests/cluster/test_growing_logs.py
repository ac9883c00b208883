"""A log that grows and is renamed, read by processes that die: each line counts once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import polars as pl
import pytest
from patience import eventually

import streamlab as sl
from streamlab.job.job import Job


class Writer:
    """Writes numbered lines, and renames the file."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self._renamed = path, 0, 0

    def write(self, count: int) -> None:
        with self.path.open("a") as file:
            for _ in range(count):
                file.write(f'{{"n": {self.lines}}}\n')
                self.lines += 1

    def rename(self) -> None:
        for number in range(self._renamed, 0, -1):
            os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.rename(self.path, f"{self.path}.1")
        self._renamed += 1


def kill(job: Job, whom: str) -> None:
    found = job._handle.folder.read_processes()
    assert found is not None
    os.kill(found.workers[0].pid if whom == "worker" else found.coordinator.pid, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["worker", "coordinator"])
def test_each_line_counts_once_whoever_dies(tmp_path: Path, whom: str) -> None:
    log = Writer(tmp_path / "app.ndjson")
    log.write(100)
    stream = sl.scan_ndjson(log.path, schema={"n": pl.Int64}, follow="append")
    job = stream.start("logs", parallelism=1, checkpoint_every="200ms", restart_delay_ms=50)
    try:
        eventually(lambda: job.results().height == 100, "the first lines")
        eventually(lambda: job.checkpoints, "a checkpoint")
        for _ in range(2):
            log.write(50)
            log.rename()
            log.write(50)
            restarts = job.report().restarts
            kill(job, whom)
            log.rename()
            log.write(50)
            if whom == "worker":
                eventually(lambda before=restarts: job.report().restarts > before, "a restart")
            eventually(lambda: job.results().height >= log.lines, "all lines")
        assert job.results()["n"].sort().to_list() == list(range(log.lines))
        assert job.dead_letters().is_empty()
    finally:
        job.cancel()
