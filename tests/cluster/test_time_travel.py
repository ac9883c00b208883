"""Savepoints, another parallelism, replays: the same rows, wherever a job goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from patience import eventually

import streamlab as sl
from streamlab.core.errors import CheckpointError, JobError, OptionError

TOTAL = 30_000


def counted(start: int, n: int) -> pl.DataFrame:
    number = pl.int_range(start, start + n, eager=True)
    # Out of order by less than the watermark waits for: whether a row is late never depends on the cuts into batches.
    time = (number * 1_000 - (number % 3) * 200_000).cast(pl.Datetime("us"))
    return pl.DataFrame({"t": time, "k": number % 7, "v": number})


def stream(total: int | None = TOTAL) -> sl.StreamFrame:
    return sl.generate(counted, rows_per_second=15_000, limit=total, event_time="t", watermark="1s", name="numbers")


def windows(total: int | None = TOTAL) -> sl.StreamFrame:
    return (
        stream(total)
        .group_by_dynamic("t", every="1s", group_by="k")
        .agg(pl.len().alias("n"), pl.col("v").sum())
        .named("per second")
    )


def groups(total: int | None = TOTAL) -> sl.StreamFrame:
    return stream(total).group_by("k").agg(pl.len().alias("n"), pl.col("v").sum()).named("per key")


@pytest.fixture
def run() -> Iterator[object]:
    jobs: list[sl.Job] = []

    def start(frame: sl.StreamFrame, **options: object) -> sl.Job:
        jobs.append(frame.start(**{"parallelism": 2, "checkpoint_every": "1h", "checkpoint_keep": 9, **options}))
        return jobs[-1]

    yield start
    for job in jobs:
        job.cancel()


def has_read(job: sl.Job, rows: int) -> None:
    eventually(lambda: job.report().rows_in >= rows or job.report().state.is_final, f"{rows} rows")


def everything(*jobs: sl.Job) -> tuple[int, int]:
    """Return how many rows went into result tables, and the sum of their numbers."""
    tables = [job.results() for job in jobs]
    assert all(job.late_rows().height == 0 for job in jobs)
    return sum(t["n"].sum() for t in tables), sum(t["v"].sum() for t in tables)


def test_another_parallelism_while_it_runs(run):
    job = run(windows())
    for parallelism in (3, 1, 2):
        has_read(job, 1_000)
        job.rescale(parallelism)
        assert job.report().parallelism == parallelism
    assert job.wait(60) == "finished"
    assert everything(job) == (TOTAL, sum(range(TOTAL)))
    assert job.results().height == job.results().select("t", "k").n_unique()


def test_a_savepoint_ends_one_job_and_begins_another_of_another_query(run, tmp_path: Path):
    first = run(windows())
    has_read(first, 5_000)
    assert first.stop(savepoint=tmp_path / "saved") == "stopped"
    table = first.results()
    # The savepoint stands by itself.
    first._handle.folder.path.rename(tmp_path / "gone")
    changed = windows().filter(pl.col("n") >= 0).with_columns(more=pl.col("n") * 2)
    second = run(changed, parallelism=3, from_savepoint=tmp_path / "saved")
    assert second.wait(60) == "finished"
    (tmp_path / "gone").rename(first._handle.folder.path)
    assert table["n"].sum() + second.results()["n"].sum() == TOTAL
    assert table["v"].sum() + second.results()["v"].sum() == sum(range(TOTAL))


def test_a_savepoint_must_fit(run, tmp_path: Path):
    job = run(groups())
    has_read(job, 1)
    saved = job.savepoint(tmp_path / "saved")
    assert saved.state("per key").height == 7
    with pytest.raises(OptionError, match="a place without a savepoint"):
        job.savepoint(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="state of 'per key', which the query does not have"):
        run(windows(), from_savepoint=tmp_path / "saved")
    other = run(windows(), from_savepoint=tmp_path / "saved", allow_non_restored_state=True)
    assert other.wait(60) == "finished"
    assert everything(other)[0] < TOTAL


@pytest.mark.parametrize("query", [windows, groups])
def test_a_replay_gives_what_the_job_gave(run, query):
    job = run(query())
    ids = []
    for rows in (3_000, 8_000, 15_000):
        has_read(job, rows)
        ids.append(job.checkpoint().id)
    assert job.wait(60) == "finished"

    to_the_end = job.replay(ids[0])
    assert to_the_end.wait(60) == "finished"
    assert to_the_end.compare(job).height == 0
    assert everything(to_the_end) == (TOTAL, sum(range(TOTAL)))

    to_a_checkpoint = job.replay(ids[0], until=ids[2])
    assert to_a_checkpoint.wait(60) == "stopped"
    assert to_a_checkpoint.compare(job.at(ids[2])).height == 0
    assert job.at(ids[0]).results().height <= job.at(ids[2]).results().height


def test_a_replay_with_another_query_shows_what_would_have_been(run):
    job = run(groups())
    has_read(job, 3_000)
    taken = job.checkpoint().id
    assert job.wait(60) == "finished"
    what_if = (
        stream().filter(pl.col("k") != 3).group_by("k").agg(pl.len().alias("n"), pl.col("v").sum()).named("per key")
    )
    replay = job.replay(taken, with_=what_if)
    assert replay.wait(60) == "finished"
    different = replay.compare(job)
    assert set(different["k"]) == {3}
    assert different["in"].sort().to_list() == ["here", "there"]


def test_a_live_source_is_replayed_from_its_recording(run):
    job = run(sl.system_metrics("10ms"))
    has_read(job, 5)
    first = job.checkpoint().id
    has_read(job, 20)
    second = job.checkpoint().id
    job.stop()
    replay = job.replay(first, until=second)
    replay.wait(60)
    assert replay.compare(job.at(second)).height == 0
    again = job.replay(first)
    again.wait(60)
    assert again.compare(job).height == 0
    assert job.recording.collect().height == job.results().height


def test_what_cannot_be_done_is_said(run, tmp_path: Path):
    endless = run(groups(None))
    has_read(endless, 1)
    taken = endless.checkpoint().id
    with pytest.raises(OptionError, match="a checkpoint to replay to"):
        endless.replay(taken)
    with pytest.raises(CheckpointError, match="checkpoints/0099"):
        endless.replay(99)
    with pytest.raises(OptionError, match="needs the id of a complete checkpoint"):
        endless.at(99)
    without = run(groups(None), checkpoint_every=None)
    for ask in (without.checkpoint, lambda: without.savepoint(tmp_path / "no"), lambda: without.rescale(3)):
        with pytest.raises(JobError, match="a job that takes checkpoints"):
            ask()
