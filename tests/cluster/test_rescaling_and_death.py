"""A rescale while processes die, and a second one meanwhile; a job whose kernel dies, and another one that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from patience import eventually

import streamlab as sl
from streamlab.core.errors import JobError

TOTAL = 60_000
GATE, REACHED = "STREAMLAB_TEST_GATE", "STREAMLAB_TEST_REACHED"
COUNTED = [pl.len().alias("n"), pl.col("v").sum()]
HERE = Path(__file__).parent


def numbers(pace: str = "realtime") -> sl.StreamFrame:
    """Return a minute of rows in real time: no job is over before the test has done what it does."""
    at = pl.int_range(TOTAL, eager=True)
    rows = pl.DataFrame({"t": (at * 1_000).cast(pl.Datetime("us")), "k": at % 7, "v": at})
    return sl.from_frame(rows, event_time="t", watermark="100ms", pace=pace, name="numbers")


def windows(pace: str = "realtime") -> sl.StreamFrame:
    return numbers(pace).group_by_dynamic("t", every="100ms", group_by="k").agg(COUNTED).named("per moment")


def held_up(frame: pl.DataFrame) -> pl.DataFrame:
    """Pass rows on, but not while the gate is there: no barrier gets through then."""
    while os.path.exists(os.environ[GATE]):
        Path(os.environ[REACHED]).touch()
        time.sleep(0.01)
    return frame


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "gate"
    monkeypatch.setenv(GATE, str(path))
    monkeypatch.setenv(REACHED, str(tmp_path / "reached"))
    yield path
    path.unlink(missing_ok=True)


def close(gate: Path) -> None:
    """Close the gate, and wait until somebody stands before it."""
    gate.touch()
    eventually(gate.with_name("reached").exists, "rows at the gate")


@pytest.fixture
def job(gate: Path) -> Iterator[sl.Job]:
    stream = numbers().map_batches(held_up).group_by("k").agg(COUNTED).named("per key")
    job = stream.start(parallelism=2, checkpoint_every="1h")
    yield job
    gate.unlink(missing_ok=True)
    job.cancel()


def test_a_rescale_under_way_outlives_the_coordinator_and_refuses_another_one(job: sl.Job, gate: Path):
    eventually(lambda: job.report().rows_in > 100, "rows")
    job.checkpoint()
    close(gate)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(job.rescale, 3)
        eventually(lambda: job.report().rescale, "the wish on record")
        with pytest.raises(JobError, match=r"rescale of job .* one that is being rescaled to 3"):
            job.rescale(4)
        os.kill(job._handle.folder.read_processes().coordinator.pid, signal.SIGKILL)
        gate.unlink()
        asked.result(60)
    report = job.report()
    assert (report.parallelism, report.rescale, report.restarts) == (3, "", 1)
    before = report.rows_in
    eventually(lambda: job.report().rows_in > before, "rows go on")
    assert job.stop(drain=True) == "stopped"
    rows = job.report().rows_in
    assert (job.results()["n"].sum(), job.results()["v"].sum()) == (rows, sum(range(rows)))


SCRIPT = """
import sys
from test_rescaling_and_death import windows
job = windows().start("mine", parallelism=2, checkpoint_every="1h")
print(job.id, flush=True)
sys.stdin.read()
"""


def client() -> tuple[subprocess.Popen[str], sl.Job]:
    """Start a process that has a job, as a kernel has, and wait until rows come."""
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    job = sl.attach(name)
    eventually(lambda: job.report().rows_in > 400, "rows")
    return process, job


@pytest.mark.parametrize("how", ["killed", "coordinator told to end"])
def test_a_job_that_ends_with_its_kernel_leaves_a_checkpoint_to_go_on_from(how: str):
    process, job = client()
    if how == "killed":
        process.kill()
    elif how == "coordinator told to end":
        os.kill(job._handle.folder.read_processes().coordinator.pid, signal.SIGTERM)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    assert job.wait(30) == "cancelled"
    # Nobody asked for one, and none was due for an hour.
    (last,) = job.report().checkpoints
    assert (last.trigger, last.state) == ("end", "complete")
    if how != "killed":
        return
    more = windows("max").start(parallelism=3, from_savepoint=job.checkpoints[-1])
    assert more.wait(60) == "finished"
    shown = [job.results(), more.results()]
    assert all(table.height for table in shown)
    assert sum(table["n"].sum() for table in shown) == TOTAL
    assert sum(table["v"].sum() for table in shown) == sum(range(TOTAL))
    assert pl.concat(shown).select("t", "k").is_duplicated().sum() == 0
