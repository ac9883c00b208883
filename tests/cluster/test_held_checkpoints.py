"""A job needs a checkpoint of another one, which goes on and deletes its own; or the place of it goes away."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from gated_source import Gate
from patience import eventually

import streamlab as sl
from streamlab.job.sources import stream
from streamlab.runtime.client.client import find, list_jobs

COUNTED = [pl.len().alias("n"), pl.col("v").sum()]
ROWS = 40


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate", ROWS)


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    yield
    for handle in list_jobs():
        sl.attach(handle.meta.id).cancel()


def totals(gate: Gate) -> sl.StreamFrame:
    return stream(gate.source()).group_by("k").agg(COUNTED).named("totals")


def expected(gate: Gate) -> Counter:
    return Counter(gate.everything().group_by("k").agg(COUNTED).rows())


def kill_coordinator(job: sl.Job) -> None:
    found = find(job.id).folder.read_processes()
    assert found is not None
    os.kill(found.coordinator.pid, signal.SIGKILL)


def begin(gate: Gate, keep: int) -> sl.Job:
    job = totals(gate).start("first", parallelism=1, checkpoint_every="1h", checkpoint_keep=keep)
    gate.open(10)
    eventually(lambda: job.report().rows_in == 11 * 10, "rows")
    return job


def test_a_replay_keeps_its_checkpoints_from_the_moment_at_which_it_is_asked_for(gate: Gate) -> None:
    job = begin(gate, keep=2)
    first = job.checkpoint().id
    gate.open(20)
    eventually(lambda: job.report().rows_in == 11 * 20, "rows")
    second = job.checkpoint().id
    replay = job.replay(first, until=second)
    # Now the job would delete both, sooner than the replay's own coordinator has begun.
    last = [job.checkpoint().id for _ in range(3)][-1]
    assert replay.wait(100) == "stopped"
    assert replay.compare(job).is_empty()
    job.checkpoint()
    blobs = find(job.id).folder.checkpoint_blobs()
    assert blobs.names("pins") == []
    assert blobs.names("checkpoints") == [f"checkpoints/{id_:04d}/manifest.json" for id_ in (last, last + 1)]
    gate.open(ROWS)
    assert job.wait(100) == "finished"


def test_a_replay_whose_coordinator_is_killed_before_its_first_checkpoint_begins_again(gate: Gate) -> None:
    job = begin(gate, keep=1)
    replay = job.replay(job.checkpoint().id)
    eventually(lambda: replay.status == "running", "a replay that runs")
    assert not any(c.state == "complete" for c in replay.report().checkpoints)
    kill_coordinator(replay)
    for _ in range(3):
        job.checkpoint()
    gate.open(ROWS)
    assert (job.wait(100), replay.wait(100)) == ("finished", "finished")
    assert Counter(replay.results().rows()) == Counter(job.results().rows()) == expected(gate)


def test_a_job_with_checkpoints_of_its_own_does_without_the_savepoint_that_it_began_with(
    gate: Gate, tmp_path: Path
) -> None:
    job = begin(gate, keep=3)
    job.stop(savepoint=tmp_path / "saved")
    again = totals(gate).start("again", parallelism=1, checkpoint_every="1h", from_savepoint=tmp_path / "saved")
    gate.open(20)
    eventually(lambda: again.report().rows_in == 11 * 10, "rows")
    again.checkpoint()
    shutil.rmtree(tmp_path / "saved")
    kill_coordinator(again)
    gate.open(ROWS)
    assert again.wait(100) == "finished"
    # The groups' state went on; the result table holds what changed since.
    assert Counter(again.results().rows()) == expected(gate)
